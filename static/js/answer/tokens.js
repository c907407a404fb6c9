// An answer that can be asked about token by token: one tab stop, arrow keys inside, a tip on hover, a click inspects.

import { mainToken, Marks } from "./marks.js";
import { Overlay } from "./overlay.js";
import { AnswerText } from "./text.js";
import { h } from "../page/elements.js";
import { t } from "../page/words.js";

export class TokenText {
  /** `actions`: {onVisit(index), onInspect(index), onHint(index or null, rect)}: moved to, wanted in full, pointed at. */
  constructor(label, painter, isEnsemble, actions) {
    this.root = h("div", { class: "gac-text", tabindex: "0", role: "group", "aria-label": t("answer.tokens", { name: label }) });
    Object.assign(this, { painter, isEnsemble, actions, count: 0, unwritten: "", numAhead: 0, changed: new Set(), ending: null, current: null, hovered: null, selected: null });
    this.text = new AnswerText(this.root);
    this.marks = new Marks();
    this.overlay = new Overlay(this.root, this.text);
    this.frame = h("div", { class: "gac-written" }, this.root, this.overlay.layer);
    this.root.tokens = this; // for whoever looks in from outside, such as the tests
    this.listen();
  }

  listen() {
    const { root, frame } = this;
    frame.addEventListener("click", (event) => {
      const mark = this.markAt(event);
      if (!mark || String(getSelection())) return; // text is being selected
      this.focus(mainToken(mark).index);
      this.actions.onInspect(mainToken(mark).index);
    });
    frame.addEventListener("pointermove", (event) => event.pointerType === "mouse" && this.hover(this.markAt(event)));
    frame.addEventListener("pointerleave", () => this.hover(null));
    root.addEventListener("focus", () => this.visit(this.current ?? this.marks.all[0]));
    root.addEventListener("blur", () => {
      this.overlay.remove("focus");
      this.actions.onHint(null);
    });
    root.addEventListener("keydown", (event) => this.onKey(event));
  }

  // ---- as it grows

  append(token) {
    this.count += 1;
    const numWritten = Math.min(this.numAhead, token.text.length);
    this.numAhead -= numWritten;
    this.unwritten += token.text.slice(numWritten);
    for (const mark of this.marks.add(token)) this.changed.add(mark);
  }

  /** Write text whose tokens come later, to the answer's end. */
  writeAhead(text) {
    this.unwritten += text;
    this.write(true);
    this.numAhead += text.length;
  }

  /** Write what was appended: once a frame, however many tokens came. */
  flush() {
    if (this.unwritten || this.changed.size || this.text.isBehind) this.write();
  }

  write(isWhole = false) {
    const from = this.text.append(this.unwritten, isWhole);
    this.unwritten = "";
    this.painter.paint(this.changed, this.text, this.isEnsemble, from);
    for (const mark of this.changed) this.showBreak(mark);
    this.overlay.place(Math.min(from, ...Array.from(this.changed, (mark) => mark.start)));
    this.changed.clear();
    if (!this.current && document.activeElement === this.root) this.visit(this.marks.all[0]);
    if (this.text.isBehind) requestAnimationFrame(() => this.flush());
    else if (this.ending) this.showEnd();
  }

  /** What shows nothing has nothing to be painted behind; that is known when it is drawn. */
  showBreak(mark) {
    const text = this.marks.text.slice(mark.start, mark.end);
    if (!this.isEnsemble || !mark.tokens.some((token) => token.isGated) || /[\p{L}\p{N}]/u.test(text)) return;
    this.overlay.set(`break ${mark.start}`, "break", mark, { "data-i": mainToken(mark).index, "data-kind": mark.tokens.some((token) => token.change) ? "changed" : "asked", "data-sign": text.includes("\n") ? "⏎" : "", dir: this.text.directionAt(mark.start) }, true);
  }

  /** The answer is over. What gave no text ended it. */
  close() {
    this.ending = this.marks.close();
    this.write(true);
    this.overlay.place();
  }

  showEnd() {
    const place = this.text.elementAt(Infinity).closest("p, h4, h5, h6") ?? this.root;
    place.append(h("i", { class: "gac-end", "data-word": t("end"), "data-i": mainToken(this.ending).index, "aria-hidden": "true" }));
    this.ending = null;
  }

  /** Draw at a token: where the text leaves the ensemble's, "fork", or begins to repeat itself, "loop"; what a branch
   * took instead of another, "swap". */
  drawAt(name, index) {
    this.flush();
    const mark = this.marks.byToken[index];
    if (mark) this.overlay.set(name, name === "swap" ? "ring" : name, mark, { "data-kind": name, dir: this.text.directionAt(mark.start) });
  }

  // ---- where a token is

  markAt(event) {
    const own = event.target.closest?.("[data-i]");
    if (own) return this.marks.byToken[Number(own.dataset.i)];
    const offset = this.text.offsetAt(event.clientX, event.clientY);
    if (offset === null) return null;
    const isIn = (mark) => this.overlay.rectsOf(mark).some((rect) =>
      event.clientX >= rect.left - 1 && event.clientX <= rect.right + 1 && event.clientY >= rect.top - 4 && event.clientY <= rect.bottom + 4);
    return [this.marks.at(offset), this.marks.at(offset - 1)].find((mark) => mark && isIn(mark)) ?? null;
  }

  /** The tokens that one mark stands for, this one among them. */
  partsOf(index) {
    return this.marks.byToken[index]?.tokens ?? [];
  }

  // ---- what is chosen

  hover(mark) {
    if (mark === this.hovered) return;
    this.hovered = mark;
    this.painter.hover(mark, this.text);
    this.actions.onHint(mark ? mainToken(mark).index : null, mark ? this.overlay.rectsOf(mark)[0] : null);
  }

  /** The token at the keyboard's place, or null. */
  get cursor() {
    return this.current ? mainToken(this.current).index : null;
  }

  visit(mark) {
    if (!mark) return;
    this.current = mark;
    this.overlay.set("focus", "ring", mark, { "data-kind": "focus" });
    this.actions.onHint(mainToken(mark).index, this.overlay.rectsOf(mark)[0], true);
  }

  select(index) {
    this.overlay.remove("selected");
    this.selected = index === null ? null : this.marks.byToken[index];
    if (!this.selected) return;
    this.current = this.selected;
    this.overlay.set("selected", "ring", this.selected, { "data-kind": "selected" });
  }

  focus(index) {
    const mark = this.marks.byToken[index];
    if (!mark) return;
    this.current = mark;
    if (document.activeElement === this.root) this.visit(mark);
    else this.root.focus({ preventScroll: true });
    this.reveal("focus");
  }

  /** Scroll to what is "focus"ed or "selected". */
  reveal(name = "selected") {
    this.text.elementAt(this.current.start).closest("td, th")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.overlay.items.get(name)?.boxes[0]?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // ---- keys

  onKey(event) {
    if (!this.current || event.target !== this.root || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.actions.onInspect(mainToken(this.current).index);
      return;
    }
    const { index } = this.current, last = this.marks.all.length - 1;
    const forward = this.text.directionAt(this.current.start) === "rtl" ? -1 : 1;
    const next = {
      ArrowRight: () => index + forward, ArrowLeft: () => index - forward,
      ArrowDown: () => this.onLine(index, 1), ArrowUp: () => this.onLine(index, -1),
      Home: () => 0, End: () => last,
    }[event.key]?.();
    if (next === undefined) return;
    event.preventDefault();
    this.visit(this.marks.all[Math.max(0, Math.min(last, next))]);
    this.reveal("focus");
    this.actions.onVisit(mainToken(this.current).index);
  }

  /** The mark of the next line, in direction `step`, that stands nearest below or above. */
  onLine(index, step) {
    const { all } = this.marks, place = (i) => this.overlay.rectsOf(all[i])[0];
    const from = place(index);
    let best = index, bestDistance = Infinity, line = null;
    for (let i = index + step; i >= 0 && i < all.length; i += step) {
      const rect = place(i);
      if ((rect.top - from.top) * step <= from.height / 2) continue;
      line ??= rect.top;
      if (Math.abs(rect.top - line) > from.height / 2) break;
      const distance = Math.abs(rect.left - from.left);
      if (distance < bestDistance) [best, bestDistance] = [i, distance];
    }
    return best;
  }
}
