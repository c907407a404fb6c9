// The bar below a battle's answers: which one is better, with the words and keys of Compare. A vote is final.

import { h } from "../page/elements.js";
import { rich, said, t } from "../page/words.js";

const KEYS = { left: "1", right: "2", tie: "0", "both-bad": "x" }; // by outcome

/** A vote in words. */
export const voteWords = (outcome) => ({ left: t("arena.answer", { side: "A" }), right: t("arena.answer", { side: "B" }), tie: t("vote.tie"), "both-bad": t("vote.both-bad") })[outcome];

export class BattleVotes {
  /** `actions`: {onVote(outcome), onStop(), onSkip(), onAgain()}. */
  constructor(root, actions) {
    Object.assign(this, { root, actions, drawn: "", state: null });
    document.addEventListener("keydown", (event) => this.onKey(event));
  }

  show(state) {
    this.state = state;
    const what = [state?.phase, state?.outcome, state?.may_vote, state?.version, state?.is_saving, said(state?.message)].join(" ");
    if (what === this.drawn) return;
    this.drawn = what;
    this.root.replaceChildren(...(state ? this.parts(state) : []));
  }

  /** Where the keys vote. */
  focus() {
    this.root.querySelector("[tabindex]")?.focus({ preventScroll: true });
  }

  parts({ phase, may_vote: mayVote, message, outcome }) {
    const again = this.button(t("arena.again"), "again", () => this.actions.onAgain());
    const told = h("span", { class: "gac-arena-told", role: "status", tabindex: "-1" });
    if (phase === "revealed") {
      told.append(...rich("vote.chosen", { name: h("b", { text: voteWords(outcome) }) }));
      return [told, again];
    }
    if (["void", "skipped", "interrupted"].includes(phase)) {
      told.append(said(message) || t("arena.skipped"));
      return [told, again];
    }
    told.append(message ? said(message) : t(phase === "answered" ? "vote.title" : "arena.which.early"));
    const votes = Object.entries(KEYS).map(([name, key]) => h("button", { type: "button", class: "gac-vote", "data-outcome": name, disabled: !mayVote, onclick: () => this.actions.onVote(name) },
      h("span", { text: voteWords(name) }), h("kbd", { text: key })));
    return [told, ...votes, h("span", { class: "gac-spacer" }),
      phase === "answered" ? null : this.button(t("prompt.stop"), "stop", () => this.actions.onStop()),
      this.button(t("arena.skip"), "skip", () => this.actions.onSkip()), again].filter(Boolean);
  }

  button(text, act, onclick) {
    return h("button", { type: "button", class: "gac-button", "data-act": act, text, onclick });
  }

  onKey(event) {
    if (!this.state?.may_vote || !this.root.isConnected || !this.root.offsetParent || event.defaultPrevented || event.repeat) return;
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (event.target.closest?.("input:not([type=checkbox]), textarea, select, [contenteditable], dialog")) return;
    const outcome = Object.keys(KEYS).find((name) => KEYS[name] === event.key);
    if (!outcome) return;
    event.preventDefault();
    this.actions.onVote(outcome);
  }
}
