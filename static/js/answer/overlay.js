// What is drawn over an answer beside its text: the ring around a chosen token, where the text leaves the ensemble's, and
// what a gate was asked about that shows nothing, such as line breaks and asterisks. None of it is text.

import { h } from "../page/elements.js";

const MIN_WIDTH = 7; // px, of a ring around what shows nothing
const MIN_SEEN = 0.5; // px

export class Overlay {
  /** For `root`, which holds what `text` shows; `layer` has to lie over it. */
  constructor(root, text) {
    Object.assign(this, { root, text, items: new Map() });
    this.layer = h("div", { class: "gac-overlay", "aria-hidden": "true" });
    new ResizeObserver(() => this.resized()).observe(root);
    root.addEventListener("scroll", () => this.place(), { capture: true, passive: true }); // of a table
  }

  /** What is written moves nothing that is there; another width does. */
  resized() {
    const { offsetWidth: width } = this.root;
    if (width !== this.width) this.place();
    this.width = width;
  }

  /** Draw a mark as `kind`, under a `name` that is there once; `data`: attributes of what is drawn; unless it is `isLater`
   * put in its place. */
  set(name, kind, mark, data = {}, isLater = false) {
    this.remove(name);
    const item = { kind, mark, data, boxes: [] };
    this.items.set(name, item);
    if (!isLater) this.draw([item]);
  }

  remove(name) {
    this.items.get(name)?.boxes.forEach((box) => box.remove());
    this.items.delete(name);
  }

  /** Put everything, or what stands at or after an offset, where the text now is. */
  place(from = 0) {
    this.draw([...this.items.values()].filter(({ mark }) => mark.end >= from));
  }

  /** All is measured before anything is drawn, so that the page is laid out once. */
  draw(items) {
    const origin = items.length && this.root.getBoundingClientRect();
    if (!origin.width) return; // not shown
    for (const [item, rects] of items.map((one) => [one, this.rectsOf(one.mark)])) this.drawItem(item, rects, origin);
  }

  drawItem(item, rects, origin) {
    const isSeen = rects.some(({ width }) => width > MIN_SEEN);
    const shown = item.kind === "ring" ? rects : item.kind === "break" && isSeen ? [] : rects.slice(0, 1);
    while (item.boxes.length > shown.length) item.boxes.pop().remove();
    while (item.boxes.length < shown.length) {
      const box = h("i", { class: `gac-${item.kind}`, ...item.data });
      this.layer.append(box);
      item.boxes.push(box);
    }
    shown.forEach((rect, index) => {
      const { style } = item.boxes[index];
      [style.left, style.top] = [`${rect.left - origin.left}px`, `${rect.top - origin.top}px`];
      [style.width, style.height] = [`${Math.max(rect.width, MIN_WIDTH)}px`, `${rect.height}px`];
    });
  }

  rectsOf(mark) {
    if (mark.isEnd) return [...(this.root.querySelector(".gac-end")?.getClientRects() ?? [])];
    const rects = this.text.rectsOf(mark.start, mark.end), wide = rects.filter((rect) => rect.width > MIN_SEEN);
    return wide.length ? wide : [rects[0] ?? this.text.gapAt(mark.start, mark.end)];
  }
}
