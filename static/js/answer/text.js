// An answer's text: one element per line and in it one text node, so that shaping, ligatures and the reading order of
// every script stay whole. Tokens are places in this text, never elements. Offsets count UTF-16 units of the answer.

import { h } from "../page/elements.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})([^\n]*)/u;
const INDENTED = /^(?: {4}|\t)\s*[^\s\d*+•-]/u; // code, and not the item of a list within a list

/** The fence that is open after a line, given the one open before it: as many or more of its characters close it. */
function fenceAfter(line, open) {
  const [, marks, rest] = FENCE.exec(line) ?? [];
  if (!marks) return open;
  if (open !== null) return marks.startsWith(open) && !rest.trim() ? null : open;
  return marks.startsWith("`") && rest.includes("`") ? null : marks;
}

/** By bisection the last of the first items, those that fit; the first of all where none does. */
export function lastThat(items, fits) {
  let low = 0, high = items.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (fits(items[middle])) low = middle;
    else high = middle - 1;
  }
  return items[low];
}

export class AnswerText {
  /** Lines are appended to `root`. */
  constructor(root) {
    Object.assign(this, { root, lines: [], byNode: new Map(), runs: {}, length: 0, fence: null });
  }

  append(text) {
    for (const part of text.split(/(?<=\n)/u)) if (part) this.appendToLine(part);
  }

  appendToLine(part) {
    const last = this.lines.at(-1);
    const line = last && !last.isWhole ? last : this.startLine(last);
    line.node.appendData(part);
    line.isWhole = part.endsWith("\n");
    this.length += part.length;
    if (!line.isSettled) this.settle(line);
  }

  startLine(before) {
    if (before) this.fence = fenceAfter(before.node.data, this.fence);
    const node = document.createTextNode("");
    const line = { node, root: h("div", { class: "gac-line", dir: "auto" }, node), start: this.length, isWhole: false, isSettled: false };
    this.setCode(line, this.fence !== null);
    this.lines.push(line);
    this.byNode.set(node, line);
    this.root.append(line.root);
    return line;
  }

  /** Whether a line is code shows in its first few characters. */
  settle(line) {
    const { data } = line.node, isFence = fenceAfter(data, null) !== null;
    this.setCode(line, this.fence !== null || isFence || INDENTED.test(data));
    line.isSettled = line.isWhole || (!isFence && /\S{3}/u.test(data)); // a fence's line may turn out to be none
  }

  setCode(line, isCode) {
    line.root.classList.toggle("is-code", isCode);
    line.root.dir = isCode ? "ltr" : "auto";
  }

  /** The line of an offset; of an end, the line that it ends. */
  lineAt(offset, isEnd = false) {
    return lastThat(this.lines, ({ start }) => (isEnd ? start < offset : start <= offset));
  }

  /** Start and end of a stretch, as a range's constructor and setters take them. */
  boundaries(start, end) {
    const first = this.lineAt(start), last = this.lineAt(end, true);
    return { startContainer: first.node, startOffset: start - first.start, endContainer: last.node, endOffset: end - last.start };
  }

  rectsOf(start, end) {
    const range = document.createRange(), at = this.boundaries(start, end);
    range.setStart(at.startContainer, at.startOffset);
    range.setEnd(at.endContainer, at.endOffset);
    return [...range.getClientRects()];
  }

  /** The offset of the gap between characters nearest to a point of the window, or null outside this text. */
  offsetAt(x, y) {
    let node, offset;
    if (document.caretPositionFromPoint) ({ offsetNode: node, offset } = document.caretPositionFromPoint(x, y) ?? {});
    else ({ startContainer: node, startOffset: offset } = document.caretRangeFromPoint?.(x, y) ?? {});
    const line = this.byNode.get(node);
    return line ? line.start + offset : null;
  }
}
