// An answer's text: one element per line and in it one text node, so that shaping, ligatures and the reading order of
// every script stay whole. Tokens are places in this text, never elements. Offsets count UTF-16 units of the answer.

const FENCE = /^ {0,3}(?:```|~~~)/u;
const INDENTED = /^(?: {4}|\t)\s*[^\s\d*+•-]/u; // code, and not the item of a list within a list

class AnswerText {
  /** Lines are appended to `root`. */
  constructor(root) {
    Object.assign(this, { root, lines: [], byNode: new Map(), runs: {}, length: 0, isFenced: false });
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
    if (before?.isFence) this.isFenced = !this.isFenced;
    const node = document.createTextNode("");
    const line = { node, root: h("div", { class: "gac-line", dir: "auto" }, node), start: this.length, isWhole: false, isFence: false, isSettled: false };
    this.setCode(line, this.isFenced);
    this.lines.push(line);
    this.byNode.set(node, line);
    this.root.append(line.root);
    return line;
  }

  /** Whether a line is code shows in its first few characters. */
  settle(line) {
    line.isFence = FENCE.test(line.node.data);
    if (line.isFence || INDENTED.test(line.node.data)) this.setCode(line, true);
    line.isSettled = line.isWhole || line.isFence || /\S{3}/u.test(line.node.data);
  }

  setCode(line, isCode) {
    line.root.classList.toggle("is-code", isCode);
    if (isCode) line.root.dir = "ltr";
  }

  /** The line of an offset; of an end, the line that it ends. */
  lineAt(offset, isEnd = false) {
    let low = 0, high = this.lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1, { start } = this.lines[middle];
      if (isEnd ? start < offset : start <= offset) low = middle;
      else high = middle - 1;
    }
    return this.lines[low];
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
