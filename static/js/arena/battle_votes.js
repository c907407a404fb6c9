// The bar below a battle's answers: which one is better, with a key each; then undo for as long as the server takes it, and
// the names.

import { h } from "../page/elements.js";
import { rich, said, t } from "../page/words.js";

const OUTCOMES = [["left", "←", "1"], ["right", "→", "2"], ["tie", "", "3"], ["both-bad", "", "4"]];
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ...Object.fromEntries(OUTCOMES.map(([outcome, , digit]) => [digit, outcome])) };

export class BattleVotes {
  /** `actions`: {onVote(outcome), onUndo(), onReveal(), onStop(), onSkip(), onAgain(), onLate()}. */
  constructor(root, actions) {
    Object.assign(this, { root, actions, drawn: "", timer: 0, state: null });
    document.addEventListener("keydown", (event) => this.onKey(event));
  }

  show(state) {
    this.state = state;
    const what = [state?.phase, state?.outcome, state?.may_vote, state?.ballot, state?.is_saving, state?.message].join(" ");
    if (what === this.drawn) return;
    this.drawn = what;
    clearInterval(this.timer);
    const hadFocus = this.root.contains(document.activeElement);
    this.root.replaceChildren(...(state ? this.parts(state) : []));
    // What was pressed may be gone: the focus stays where it was heard last.
    if (hadFocus) this.root.querySelector("[tabindex]")?.focus();
  }

  parts({ phase, may_vote: mayVote, message, undo_left_s: left }) {
    const again = this.button(t("arena.again"), "again", () => this.actions.onAgain());
    const told = h("span", { class: "gac-arena-told", role: "status", tabindex: "-1" });
    if (phase === "voted") {
      told.append(...rich("arena.voted", { vote: h("b", { text: t(`arena.vote.${this.state.outcome}`) }) }));
      const undo = this.button("", "undo", () => this.actions.onUndo(), "u");
      this.countDown(undo.firstChild, left);
      return [told, undo, this.button(t("arena.reveal"), "reveal", () => this.actions.onReveal(), "r")];
    }
    if (phase === "revealed") {
      told.append(...rich("arena.locked", { vote: h("b", { text: t(`arena.vote.${this.state.outcome}`) }) }));
      return [told, again];
    }
    if (["void", "skipped", "interrupted"].includes(phase)) {
      told.append(said(message) || t("arena.skipped"));
      return [told, again];
    }
    told.append(message ? said(message) : t(phase === "answered" ? "arena.which" : "arena.which.early"));
    const votes = OUTCOMES.map(([outcome, arrow, digit]) => h("button", { type: "button", class: "gac-vote", "data-outcome": outcome, disabled: !mayVote, onclick: () => this.actions.onVote(outcome) },
      h("span", { text: t(`arena.vote.${outcome}`) }), h("kbd", { text: arrow || digit })));
    return [told, ...votes, h("span", { class: "gac-spacer" }),
      phase === "answered" ? null : this.button(t("arena.stop"), "stop", () => this.actions.onStop()),
      this.button(t("arena.skip"), "skip", () => this.actions.onSkip()), again].filter(Boolean);
  }

  button(text, act, onclick, key = "") {
    return h("button", { type: "button", class: "gac-button", "data-act": act, onclick }, h("span", { text }), key ? h("kbd", { text: key }) : null);
  }

  countDown(words, left) {
    const until = performance.now() + 1000 * left;
    let isAsking = false;
    const tick = async () => {
      const rest = Math.ceil((until - performance.now()) / 1000);
      words.textContent = t("arena.undo", { left: Math.max(0, rest) });
      if (rest > 0 || isAsking) return;
      isAsking = true; // until the names come, which draws this anew
      await this.actions.onLate();
      isAsking = false;
    };
    this.timer = setInterval(tick, 250);
    tick();
  }

  onKey(event) {
    if (!this.state || !this.root.isConnected || !this.root.offsetParent || event.defaultPrevented || event.repeat) return;
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    // Where arrows move something else, they do not vote.
    if (event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable], dialog, [role=tab], [role=radio], pre, table")) return;
    const { phase, may_vote: mayVote } = this.state, outcome = KEYS[event.key];
    const isVote = outcome && mayVote, act = phase === "voted" ? { u: "onUndo", r: "onReveal" }[event.key] : null;
    if (!isVote && !act) return;
    event.preventDefault();
    if (isVote) this.actions.onVote(outcome);
    else this.actions[act]();
  }
}
