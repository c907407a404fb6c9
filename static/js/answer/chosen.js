// The token that is chosen in one of several answers: hinted at, inspected, moved along. Compare's board and the Arena have
// one each.

import { hintOf } from "./hints.js";
import { Inspector } from "./inspector.js";
import { Painter } from "./painter.js";
import { theTip } from "../page/tip.js";

const NARROW = matchMedia("(max-width: 999px)");

export class Chosen {
  /** `root`: of the answers; `fetchStep`: see `Inspector`; `tokensOf(stream)`: its `TokenText`; `onBranch(position, token)`;
   * `onSelect(stream, index)`: null, null where none is chosen any more. */
  constructor(root, fetchStep, { tokensOf, onBranch = () => {}, onSelect = () => {} }) {
    Object.assign(this, { root, tokensOf, onSelect, painter: new Painter(), tip: theTip(), place: null });
    this.part = (name) => root.querySelector(`.gac-${name}`);
    this.inspector = new Inspector(this.part("inspector"), fetchStep, {
      onBranch, onMove: (step) => this.goTo(this.place.index + step), onChoose: (index) => this.goTo(index), onClose: () => this.close(), onShown: () => this.shown(),
    });
  }

  clear(run) {
    this.place = null;
    this.painter.clear();
    this.tip.hide();
    this.inspector.clear(run);
  }

  setView(view = this.root.dataset.view) {
    this.root.dataset.view = view;
    this.painter.show(view);
  }

  /** What a stream's `TokenText` tells of; `run`: its members, mode and gate. */
  actions(stream, run) {
    return {
      onVisit: (index) => { if (this.inspector.isOpen) this.inspect(stream, index, true); },
      onInspect: (index) => (this.place?.stream === stream && this.place.index === index ? this.part("inspector").querySelector("button")?.focus() : this.inspect(stream, index)),
      onHint: (index, rect, isSpoken) => {
        if (index === null) return this.tip.hide();
        const text = hintOf(stream, index, run, this.tokensOf(stream).partsOf(index).length);
        if (!isSpoken || !this.inspector.isOpen) this.tip.show(text, rect);
        if (isSpoken) this.part("spoken").textContent = `${stream.tokens[index].text} ${text}`;
      },
    };
  }

  inspect(stream, index, isLater = false) {
    if (this.place) this.tokensOf(this.place.stream).select(null);
    Object.assign(this, { place: { stream, index }, isLater });
    const tokens = this.tokensOf(stream);
    tokens.select(index);
    this.tip.hide();
    this.onSelect(stream, index);
    this.inspector.show(stream, index, tokens.partsOf(index), isLater);
  }

  /** The arrow keys' own line has been read out already. */
  shown() {
    this.placeBeside();
    if (!this.isLater) this.part("spoken").textContent = this.inspector.words;
  }

  /** The panel stands beside the card that it explains, which keeps the chosen token in sight; on narrow screens it is a sheet. */
  placeBeside() {
    const tokens = this.tokensOf(this.place.stream), { left, right } = tokens.root.closest(".gac-card").getBoundingClientRect();
    if (!NARROW.matches) {
      const all = this.part("columns").getBoundingClientRect(), { offsetWidth: width } = this.part("side");
      const place = all.right - right > width ? right + 4 : left - all.left > width ? left - width - 4 : all.right - width;
      this.root.style.setProperty("--side", `${place - all.left}px`);
    }
    tokens.reveal();
  }

  goTo(index) {
    const { stream } = this.place;
    if (index >= 0 && index < stream.tokens.length) this.inspect(stream, index);
  }

  /** Closes the inspector; false if it was not open. */
  close() {
    if (!this.inspector.isOpen) return false;
    const { stream, index } = this.place, tokens = this.tokensOf(stream);
    this.inspector.close();
    this.onSelect(null, null);
    tokens.select(null);
    tokens.focus(index);
    this.place = null;
    return true;
  }
}
