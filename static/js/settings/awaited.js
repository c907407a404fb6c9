// A question that is asked while members load: it is kept, also over a reload, and asked once they are ready.

import { onLoaded } from "../page/loaded.js";
import { areLoading, onFacts } from "./facts.js";

const UNMEANT_MS = 600; // a second press so soon is that of a double click, or of a key that is held
const STALE_MS = 1500; // the page comes with the members' states of its making; until then newer ones have come, if any
const FILL_MS = 50, MAX_FILLS = 100; // a reload brings what was typed back some time later

export class Awaited {
  /** `name`: of the prompt, in this tab's storage; `box()`: its field; `ask()`: asks what stands there; `onChange()`. */
  constructor(name, { box, ask, onChange }) {
    Object.assign(this, { key: `gac.awaited.${name}`, box, ask, onChange, pressedAt: -Infinity });
    try { this.text = sessionStorage.getItem(this.key); } catch { this.text = null; }
    document.addEventListener("input", ({ target }) => { if (this.isOn && target === box() && target.value !== this.text) this.keep(null); });
    let isLoaded = false;
    onFacts(() => this.look(isLoaded));
    onLoaded(() => {
      isLoaded = true;
      setTimeout(() => this.look(true), STALE_MS);
    });
  }

  get isOn() {
    return this.text !== null;
  }

  /** The question is asked: true where that waits, or was called off by being asked again. */
  hold() {
    const now = performance.now(), isMeant = now - this.pressedAt > UNMEANT_MS, text = this.box().value;
    if (!areLoading() || !text.trim()) return false;
    this.pressedAt = now;
    if (!this.isOn) this.keep(text);
    else if (isMeant) this.keep(null);
    return true;
  }

  keep(text) {
    this.text = text;
    try {
      if (text === null) sessionStorage.removeItem(this.key);
      else sessionStorage.setItem(this.key, text);
    } catch { /* storage is forbidden: a reload forgets it */ }
    this.onChange();
  }

  /** Ask, if the members are ready; where one has failed too, so that the server says why. */
  async look(isFresh) {
    if (!isFresh || this.isLooking || !this.isOn || areLoading()) return;
    this.isLooking = true;
    for (let tries = 0; this.isOn && this.box()?.value !== this.text && tries < MAX_FILLS; tries += 1) await new Promise((wake) => setTimeout(wake, FILL_MS));
    this.isLooking = false;
    if (!this.isOn) return;
    const isThere = this.box()?.value === this.text;
    this.keep(null);
    if (isThere) this.ask();
  }
}
