// An answer as a row of tokens: one tab stop, arrow keys inside (roving tabindex).

/** Which mark a token needs to be seen at all; the style sheet draws it. */
function invisibleMark(token) {
  if (token.isEnd) return "end";
  if (token.text === "") return "part";
  if (/^\s+$/u.test(token.text)) return token.text.includes("\n") ? "line" : "space";
  return null;
}

/** Whether a line of an answer is code: indented by more than a space, or a fence. */
const CODE_LINE = /^(?: {2,}|\t+)\S|^```/u;

class TokenText {
  /** `onVisit(index)`: a token got the focus; `onInspect(index)`: somebody wants its details. */
  constructor(label, { onVisit, onInspect }) {
    this.root = h("div", { class: "gac-text", dir: "auto", role: "group", "aria-label": label });
    this.spans = [];
    this.line = ""; // the last one
    this.current = null;
    this.root.addEventListener("click", (event) => {
      const index = this.indexOf(event.target);
      if (index === null || String(getSelection())) return; // text is being selected
      this.focus(index);
      onInspect(index);
    });
    this.root.addEventListener("focusin", (event) => {
      const index = this.indexOf(event.target);
      if (index === null) return;
      this.setCurrent(index);
      onVisit(index);
    });
    this.root.addEventListener("keydown", (event) => this.onKey(event, onInspect));
  }

  append(token) {
    const span = h("span", { class: "tok", tabindex: "-1", "data-i": token.index, "data-mark": invisibleMark(token) });
    span.textContent = token.isEnd ? "end" : token.text;
    if (token.isGated) span.classList.add("g");
    if (token.isForced) span.classList.add("f");
    if (token.isOpen) span.classList.add("o");
    if (token.winner >= 0) span.dataset.w = token.winner % 6;
    span.style.setProperty("--doubt", `${Math.round((1 - token.prob) * 100)}%`);
    this.spans.push(span);
    this.root.append(span);
    if (!this.current) this.setCurrent(0);
    this.note(token);
  }

  /** What the answer holds decides its font and what the legend explains. */
  note(token) {
    const lines = (this.line + token.text).split("\n");
    this.line = lines.at(-1);
    if (lines.some((line) => CODE_LINE.test(line))) this.root.classList.add("is-code");
    if (token.isOpen) this.root.classList.add("has-open");
    if (token.text === "" && !token.isEnd) this.root.classList.add("has-parts");
  }

  /** The answer is over: tokens at its end that gave no text were a stop string, which is never shown. */
  close() {
    for (let i = this.spans.length - 1; i >= 0 && this.spans[i].dataset.mark === "part"; i -= 1) {
      const isLast = i === this.spans.length - 1;
      this.spans[i].dataset.mark = isLast ? "end" : "held";
      this.spans[i].title = "Part of the text that ends a turn; not shown";
      if (isLast) this.spans[i].textContent = "end";
    }
    this.root.classList.toggle("has-parts", this.spans.some((span) => span.dataset.mark === "part"));
  }

  mark(index, name) {
    this.spans[index]?.classList.add(name);
  }

  indexOf(target) {
    const span = target.closest?.(".tok");
    return span && this.root.contains(span) ? Number(span.dataset.i) : null;
  }

  setCurrent(index) {
    const span = this.spans[index];
    if (!span || span === this.current) return;
    if (this.current) {
      this.current.tabIndex = -1;
      this.current.removeAttribute("role");
    }
    this.current = span;
    span.tabIndex = 0;
    span.setAttribute("role", "button");
  }

  select(index) {
    this.root.querySelector(".tok.selected")?.classList.remove("selected");
    if (index !== null) this.spans[index]?.classList.add("selected");
  }

  focus(index) {
    this.setCurrent(index);
    this.current?.focus({ preventScroll: true });
    this.reveal(index);
  }

  reveal(index) {
    this.spans[index]?.scrollIntoView({ block: "nearest" });
  }

  onKey(event, onInspect) {
    const index = this.indexOf(event.target);
    if (index === null || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      onInspect(index);
      return;
    }
    const forward = getComputedStyle(this.root).direction === "rtl" ? -1 : 1;
    const next = {
      ArrowRight: () => index + forward, ArrowLeft: () => index - forward,
      ArrowDown: () => this.onLine(index, 1), ArrowUp: () => this.onLine(index, -1),
      Home: () => 0, End: () => this.spans.length - 1,
    }[event.key]?.();
    if (next === undefined) return;
    event.preventDefault();
    this.focus(Math.max(0, Math.min(this.spans.length - 1, next)));
  }

  /** The token of the next line, in direction `step`, that stands nearest below or above. */
  onLine(index, step) {
    const place = (i) => this.spans[i].getClientRects()[0] ?? this.spans[i].getBoundingClientRect();
    const from = place(index);
    let best = index, bestDistance = Infinity, line = null;
    for (let i = index + step; i >= 0 && i < this.spans.length; i += step) {
      const rect = place(i);
      const isOther = (rect.top - from.top) * step > from.height / 2;
      if (!isOther) continue;
      line ??= rect.top;
      if (Math.abs(rect.top - line) > from.height / 2) break;
      const distance = Math.abs(rect.left - from.left);
      if (distance < bestDistance) [best, bestDistance] = [i, distance];
    }
    return best;
  }
}
