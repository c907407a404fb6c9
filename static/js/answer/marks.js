// Which tokens are marked together. A mark is the text of a token, moved to the bounds of what readers call a character
// (a grapheme cluster): tokens that are a part of one are one mark with the rest of it.

import { lastThat } from "./text.js";

const CLUSTERS = new Intl.Segmenter(undefined, { granularity: "grapheme" });

export class Marks {
  constructor() {
    Object.assign(this, { all: [], byToken: [], text: "", waiting: [] }); // waiting: tokens that gave no text yet
  }

  /** Takes the next token; returns the marks that are new or changed. */
  add(token) {
    this.waiting.push(token);
    if (token.text === "") return [];
    const from = this.text.length;
    this.text += token.text;
    const last = this.all.at(-1), start = this.nextBound(from, last), changed = [];
    if (last && start > last.end) {
      last.end = start;
      changed.push(last);
    }
    if (start < this.text.length) changed.push(this.take({ start, end: this.text.length, tokens: [], isEnd: false }));
    else this.join(last);
    return changed;
  }

  /** The answer is over: what gave no text ended it, and is one mark without text. */
  close() {
    return this.waiting.length ? this.take({ start: this.text.length, end: this.text.length, tokens: [], isEnd: true }) : null;
  }

  take(mark) {
    mark.index = this.all.length;
    this.all.push(mark);
    this.join(mark);
    return mark;
  }

  join(mark) {
    for (const token of this.waiting) this.byToken[token.index] = mark;
    mark.tokens.push(...this.waiting);
    this.waiting = [];
  }

  /** The first bound of a character at or after `from`. */
  nextBound(from, last) {
    const code = this.text.charCodeAt(from);
    if (!last || (code < 0x300 && code !== 10)) return from; // before combining characters; a line break may follow \r
    const { index, segment } = CLUSTERS.segment(this.text.slice(last.start)).containing(from - last.start);
    return index === from - last.start ? from : last.start + index + segment.length;
  }

  at(offset) {
    return this.all[lastThat(this.all, (mark) => mark.start <= offset && !mark.isEnd)];
  }
}

/** The token of a mark that says most: the first that the others changed, or that they were asked about, else the first. */
export const mainToken = ({ tokens }) => tokens.find((token) => token.change) ?? tokens.find((token) => token.isGated) ?? tokens[0];
