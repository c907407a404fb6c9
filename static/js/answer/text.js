// An answer's text as its Markdown is meant. Tokens are places in what was written, never elements, so that shaping,
// ligatures and the reading order of every script stay whole. Offsets count UTF-16 units of the answer.

import { blocksOf } from "./markdown.js";
import { h } from "../page/elements.js";

const STEP = 6_000; // characters that are written at once
// A line that what follows makes an item, a heading, a table or a fence, or none: it is written once that is known.
const UNDECIDED = /^[ \t>]{0,99}(?:\d{1,9}[.)]?|[-=*_+#`~|:> \t]{1,200}|[-+*\d.) \t>]{0,99}(?:```|~~~).{0,200})?$/u; // without blanks at its end

/** By bisection the index of the last of the first items, those that fit; of the first of all where none does. */
export function lastThat(items, fits) {
  let low = 0, high = items.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (fits(items[middle])) low = middle;
    else high = middle - 1;
  }
  return low;
}

export class AnswerText {
  /** Blocks are appended to `root`. A piece is a text node that shows what stands from `at` to `end`. */
  constructor(root) {
    Object.assign(this, { root, whole: "", isWhole: false, blocks: [], pieces: [], byNode: new WeakMap(), runs: {}, shownTo: 0 });
  }

  /** Take more of the answer, or its end. Returns the offset from which on what is shown may be new. */
  append(text, isWhole = false) {
    this.whole += text;
    this.isWhole ||= isWhole;
    return this.write();
  }

  /** Whether there is more to `write`. */
  get isBehind() {
    return this.shownTo < this.whole.length;
  }

  write() {
    const last = this.blocks.pop() ?? { at: 0, ranks: [] }, first = this.pieces.findLastIndex(({ at }) => at < last.at) + 1;
    const before = this.pieces.splice(first);
    this.shownTo = Math.min(this.whole.length, this.shownTo + STEP);
    let shown = this.whole.slice(last.at, this.shownTo);
    const line = shown.slice(shown.lastIndexOf("\n") + 1);
    if ((this.isBehind || !this.isWhole) && UNDECIDED.test(line.trimEnd())) shown = shown.slice(0, shown.length - line.length);
    const blocks = blocksOf(shown, last.at, last.ranks);
    this.fill(this.root, blocks.map(({ part }) => part), this.blocks.length);
    this.blocks.push(...blocks);
    return blocks.at(-1)?.part.tag === "table" ? last.at : this.sameTo(before, first, last.at); // its columns may have moved
  }

  /** Make what `parent` holds from child `first` on like `parts`. What is alike stays, and with it what is selected there. */
  fill(parent, parts, first = 0) {
    parts.forEach((part, index) => {
      const old = parent.childNodes[first + index], isText = part.text !== undefined;
      const look = isText ? "" : JSON.stringify([part.tag, part.attrs]);
      const node = old?.look === look ? old : Object.assign(isText ? document.createTextNode("") : h(part.tag, part.attrs), { look });
      if (!old) parent.append(node);
      else if (node !== old) old.replaceWith(node);
      if (isText) this.fillText(node, part);
      else this.fill(node, part.parts);
    });
    while (parent.childNodes.length > first + parts.length) parent.lastChild.remove();
  }

  fillText(node, { text, at, length = text.length }) {
    if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length)); // a selection stays
    else node.data = text;
    if (at === undefined) return;
    const piece = { node, at, end: at + length };
    this.byNode.set(node, piece);
    this.pieces.push(piece);
  }

  /** The offset up to which pieces, from the first one of those from `start` on, are as they were before. */
  sameTo(before, first, start) {
    const other = before.findIndex(({ node, at, end }, index) => {
      const now = this.pieces[first + index];
      return now?.node !== node || now.at !== at || now.end !== end;
    });
    const same = other < 0 ? before.length : other, grown = before[same], now = this.pieces[first + same];
    const isCopy = now && now.node.length === now.end - now.at; // and has not become a character that was written as a name
    return isCopy && grown && now.node === grown.node && now.at === grown.at ? Math.min(grown.end, now.end) : before[same - 1]?.end ?? start;
  }

  /** What of each piece shows a stretch: {node, from, to}. */
  shown(start, end) {
    const found = [];
    for (let index = lastThat(this.pieces, ({ at }) => at <= start); index < this.pieces.length && this.pieces[index].at < end; index += 1) {
      const { node, at } = this.pieces[index], from = Math.max(0, Math.min(start - at, node.length)), to = Math.min(end - at, node.length);
      if (from < to) found.push({ node, from, to });
    }
    return found;
  }

  /** What is painted: not the spaces before a word. */
  rangesOf(start, end) {
    while (this.whole[start] === " " && start < end - 1) start += 1;
    return this.shown(start, end).map(({ node, from, to }) => new StaticRange({ startContainer: node, startOffset: from, endContainer: node, endOffset: to }));
  }

  rectsOf(start, end) {
    return this.shown(start, end).flatMap(({ node, from, to }) => rectsIn(node, from, to));
  }

  /** Where a stretch that nothing shows would stand: before what follows; after what is before it, if it begins with a line
   * break or nothing follows. */
  gapAt(start, end) {
    const index = lastThat(this.pieces, ({ at }) => at < end), after = this.edge(index + (this.pieces[index]?.at < end ? 1 : 0), 1), before = this.edge(index, -1);
    return (this.whole[start] === "\n" ? before ?? after : after ?? before) ?? new DOMRect(this.root.getBoundingClientRect().left, this.root.getBoundingClientRect().top, 0, 20);
  }

  /** The rectangle without width before the first visible character from a piece on, or after the last one up to it. */
  edge(index, step) {
    for (let piece = this.pieces[index]; piece; piece = this.pieces[index += step]) {
      const { node } = piece, at = step > 0 ? node.data.search(/\S/u) : node.data.trimEnd().length - 1;
      if (at < 0) continue;
      const [rect] = rectsIn(node, at, at + 1);
      const isLeft = step > 0 === (getComputedStyle(node.parentElement).direction === "ltr");
      if (rect) return new DOMRect(isLeft ? rect.left : rect.right, rect.top, 0, rect.height);
    }
    return null;
  }

  /** "rtl" or "ltr": where the line of an offset ends. */
  directionAt(offset) {
    return getComputedStyle(this.elementAt(offset)).direction;
  }

  /** The element that shows an offset. */
  elementAt(offset) {
    return this.pieces[lastThat(this.pieces, ({ at }) => at <= offset)]?.node.parentElement ?? this.root;
  }

  /** The offset of the gap between characters nearest to a point of the window, or null outside this text. */
  offsetAt(x, y) {
    let node, offset;
    if (document.caretPositionFromPoint) ({ offsetNode: node, offset } = document.caretPositionFromPoint(x, y) ?? {});
    else ({ startContainer: node, startOffset: offset } = document.caretRangeFromPoint?.(x, y) ?? {});
    const piece = node && this.byNode.get(node);
    return piece ? piece.at + offset : null;
  }
}

function rectsIn(node, from, to) {
  const range = document.createRange();
  range.setStart(node, from);
  range.setEnd(node, to);
  return [...range.getClientRects()];
}
