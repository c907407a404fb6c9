// A question that is asked while members load: it is kept, also over a reload, and asked once they are ready. Whatever else
// is asked for meanwhile waits too, as long as the page. What is only typed outlives a reload too, and a crash of the tab.

import { keepText, keptText, OF_TAB } from "../page/browser.js";
import { onLoaded } from "../page/loaded.js";
import { areLoading, onFacts } from "./facts.js";

export const UNMEANT_MS = 600; // a second press so soon is that of a double click, or of a key that is held
const STALE_MS = 1500; // the page comes with the members' states of its making; until then newer ones have come, if any
const FILL_MS = 50, MAX_FILLS = 100; // a reload brings what was typed back some time later

export const QUESTION = { name: "" }; // what stands in the box, as one of the things asked for: `{name, ask}`

export class Awaited {
  /** `name`: of the prompt, in this tab's storage; `box()`: its field; `ask()`: asks what stands there; `onChange()`. */
  constructor(name, { box, ask, onChange }) {
    Object.assign(this, { key: `gac.awaited.${name}`, box, ask, onChange, other: null, pressedAt: -Infinity });
    this.text = keptText(this.key, OF_TAB) || null;
    this.draft = keptText(`gac.draft.${name}`, OF_TAB) ?? "";
    this.keepDraft = (text) => keepText(`gac.draft.${name}`, text, OF_TAB); // "": it was asked
    document.addEventListener("input", ({ target }) => {
      if (target !== box()) return;
      this.keepDraft(target.value);
      if (this.text !== null && target.value !== this.text) this.keep(null);
    });
    let isLoaded = false;
    onFacts(() => this.look(isLoaded));
    onLoaded(() => {
      isLoaded = true;
      setTimeout(() => this.look(true), STALE_MS);
    });
  }

  get isOn() {
    return this.text !== null || this.other !== null;
  }

  /** The question is asked: true where that waits, or was called off by being asked again. */
  hold() {
    const text = this.box().value;
    return areLoading() && text.trim() !== "" && this.press(() => this.keep(text), this.text !== null);
  }

  /** The same of something else, `{name, ask}`; the name tells whether it is that again. */
  holdOther(asked) {
    return areLoading() && this.press(() => this.keepOther(asked), this.other?.name === asked.name);
  }

  press(keep, isAgain) {
    const now = performance.now(), isMeant = now - this.pressedAt > UNMEANT_MS;
    this.pressedAt = now;
    if (!isAgain) keep();
    else if (isMeant) this.keep(null);
    return true;
  }

  /** The server says that members load, since it has begun anew: what it refused waits. */
  refused(asked) {
    if (asked !== QUESTION) this.keepOther(asked);
    else if (this.box().value.trim()) this.keep(this.box().value);
  }

  /** Keep a question, or nothing: null. */
  keep(text) {
    Object.assign(this, { text, other: null });
    keepText(this.key, text ?? "", OF_TAB);
    this.onChange();
  }

  keepOther(asked) {
    this.keep(null);
    this.other = asked;
    this.onChange();
  }

  /** Ask, if the members are ready; where one has failed too, so that the server says why. */
  async look(isFresh) {
    if (!isFresh || this.isLooking || !this.isOn || areLoading()) return;
    const { other } = this;
    if (other) {
      this.keep(null);
      return other.ask();
    }
    this.isLooking = true;
    for (let tries = 0; this.isOn && this.box()?.value !== this.text && tries < MAX_FILLS; tries += 1) await new Promise((wake) => setTimeout(wake, FILL_MS));
    this.isLooking = false;
    if (!this.isOn) return;
    const isThere = this.box()?.value === this.text;
    this.keep(null);
    if (isThere) this.ask();
  }
}
