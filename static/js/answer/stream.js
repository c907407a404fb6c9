// Reads the board's value: JSON lines that only grow, until another run's header starts afresh. A run that was left never
// comes back, though its lines still come: whoever opens it again gets another header.
// gac_app/ui/compare/records.py writes them and describes each line.

export const BESIDE = "beside"; // the ensemble's answer of another run
const LONGEST = 96, LEAST = 24; // tokens of what is said again, and of all that repeats
const CATCH_UP_MS = 1000; // in which a page that comes later gets what was written before
const GATED = 1, END = 2, FORCED = 4, PARTIAL = 8, DRAWN = 16, COMPARED = 32;

export class StreamReader {
  /** `onRun(header)` starts a board; `onLine(line)` is called once for each line after it. */
  constructor(onRun, onLine) {
    Object.assign(this, { onRun, onLine, head: "", left: new Set(), offset: 0 });
  }

  feed(value) {
    const headEnd = value.indexOf("\n") + 1;
    const head = value.slice(0, headEnd);
    if (this.left.has(head)) return;
    if (head !== this.head) {
      if (this.head) this.left.add(this.head);
      this.head = head;
      this.offset = headEnd;
      this.onRun(head ? JSON.parse(head).run : null);
    }
    const end = value.lastIndexOf("\n") + 1;
    if (end <= this.offset) return;
    for (const line of value.slice(this.offset, end - 1).split("\n")) this.onLine(JSON.parse(line));
    this.offset = end;
  }
}

/** One stream's tokens and figures. */
export class Stream {
  constructor(index, key, member) {
    // `member`: the member's index, -1 for the ensemble.
    Object.assign(this, { index, key, member, tokens: [], whole: null, numGated: 0, numDecoded: 0, end: null, firstAt: null, timedFrom: 0, numUntimed: 0, lastAt: 0 });
  }

  /** `change`: what the gate alone would have written, and what was; "" is the end. */
  add([, text, flags, winner, prob, confidence, change = null]) {
    const now = performance.now();
    const token = {
      index: this.tokens.length, text, winner, prob, confidence, change,
      isGated: Boolean(flags & GATED), isEnd: Boolean(flags & END), isForced: Boolean(flags & FORCED), isPartial: Boolean(flags & PARTIAL),
      isDrawn: Boolean(flags & DRAWN), isCompared: Boolean(flags & COMPARED),
    };
    if (token.isGated) this.numGated += 1;
    if (!token.isForced) {
      this.numDecoded += 1;
      this.firstAt ??= now;
      if (now - this.firstAt < CATCH_UP_MS) Object.assign(this, { timedFrom: now, numUntimed: this.numDecoded });
      this.lastAt = now;
    }
    this.tokens.push(token);
    return token;
  }

  /** Whether it is over, and its last tokens have come. */
  get isWhole() {
    return Boolean(this.end) && this.tokens.length >= this.end.tokens;
  }

  /** All of it, also where its last tokens have yet to come. */
  get text() {
    return this.whole ?? this.tokens.map((token) => token.text).join("");
  }

  /** Tokens per second: the session's own figure, or while it streams what this browser sees. */
  get speed() {
    if (this.end) return this.end.tokens_per_s;
    const elapsed = (this.lastAt - this.timedFrom) / 1000;
    return elapsed > 0.5 ? (this.numDecoded - this.numUntimed) / elapsed : 0;
  }
}

/** Where an answer begins to say over and over again what it has just said, and whether it `goesOn` so to its end. */
export class Repetition {
  constructor() {
    Object.assign(this, { texts: [], numEqual: Array(LONGEST + 1).fill(0), from: null, goesOn: false });
  }

  /** Takes the next token's text; returns the first token that repeats, null unless the last N tokens have repeated the N
   * before at least three times. */
  add(text) {
    const { texts, numEqual } = this, at = texts.push(text) - 1;
    this.goesOn &&= text === texts[at - this.period];
    for (let n = 1; n <= LONGEST && this.from === null; n += 1) {
      numEqual[n] = text === texts[at - n] ? numEqual[n] + 1 : 0;
      if (numEqual[n] >= Math.max(LEAST, 3 * n)) Object.assign(this, { from: at + 1 - numEqual[n], period: n, goesOn: true });
    }
    return this.from;
  }
}
