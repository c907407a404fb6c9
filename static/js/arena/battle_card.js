// One side of a battle: its answers so far, and the one that is being written. Both sides look alike until the names are
// told; then an answer's tokens can be asked about as on Compare.

import { AnswerText } from "../answer/text.js";
import { TokenText } from "../answer/tokens.js";
import { copyBy } from "../page/browser.js";
import { following, h, shortNames } from "../page/elements.js";
import { number, percent, seconds } from "../page/numbers.js";
import { said, saidShort, t } from "../page/words.js";

export const SIDES = ["left", "right"];
export const LETTERS = ["A", "B"];
export const LIVE = ["waiting", "answering"]; // phases in which more is to come

/** One answer, as text; after the reveal, by tokens. */
class BattleAnswer {
  constructor(label) {
    this.label = label;
    this.text = new AnswerText(h("div", { class: "gac-text" }));
    this.root = h("div", {}, this.text.root);
  }

  get whole() {
    return this.text.whole;
  }

  /** Take more of it; after the reveal nothing is missing. */
  append(text) {
    if (!this.tokens) this.text.append(text);
  }

  /** Write what is left. */
  flush(isWhole) {
    if (this.text.isBehind || (isWhole && !this.text.isWhole)) this.text.append("", isWhole);
  }

  reveal(stream, painter, actions) {
    this.tokens = new TokenText(this.label, painter, stream.member < 0, actions);
    for (const token of stream.tokens) this.tokens.append(token);
    this.tokens.close();
    this.text = this.tokens.text;
    this.root.replaceChildren(this.tokens.frame);
  }
}

export class BattleCard {
  /** `turns`: the earlier ones, oldest first; `prompt`: of the newest. */
  constructor(index, turns, prompt) {
    this.index = index;
    this.label = t("arena.answer", { side: LETTERS[index] });
    this.heading = h("h3", {}, h("span", { text: this.label }));
    this.facts = h("p", { class: "gac-battle-facts gac-small" });
    this.note = h("p", { class: "gac-card-note", hidden: true });
    const copy = h("button", { type: "button", class: "gac-icon", text: t("copy"), onclick: () => copyBy(copy, this.answer.whole, t("copy")) });
    this.answers = [...turns, { prompt }].map(() => new BattleAnswer(this.label));
    this.answer = this.answers.at(-1);
    const asked = (text) => (turns.length ? h("p", { class: "gac-battle-said", dir: "auto", text }) : null);
    this.body = h("div", { class: "gac-body", tabindex: "0", role: "group", "aria-label": this.label },
      ...[...turns.map((turn) => turn.prompt), prompt].flatMap((text, turn) => [asked(text), this.answers[turn].root]).filter(Boolean));
    turns.forEach((turn, at) => this.answers[at].append(turn[SIDES[index]]));
    this.root = h("article", { class: "gac-card gac-battle-card", "data-state": "waiting", "aria-label": this.label },
      h("header", {}, this.heading, h("span", { class: "gac-spacer" }), copy), this.facts, this.body, this.note);
    this.followEnd = following(this.body);
  }

  /** Write what came; once a frame. */
  flush() {
    const isOver = this.root.dataset.state === "finished";
    for (const answer of this.answers) answer.flush(isOver || answer !== this.answer);
    if (!isOver) this.followEnd();
  }

  show(state) {
    const isOver = state.is_over[this.index] || !LIVE.includes(state.phase);
    this.root.dataset.state = isOver ? "finished" : this.answer.whole ? "streaming" : "waiting";
    const isEmpty = isOver && !this.answer.whole && ["answering", "answered"].includes(state.phase);
    this.note.textContent = isEmpty ? t("arena.nothing") : state.is_cut[this.index] ? t("arena.cut") : "";
    this.note.hidden = !this.note.textContent;
    if (state.contestants) this.tell(state.contestants[this.index], state.outcome === SIDES[this.index]);
  }

  /** Who it was. */
  tell(one, isChosen) {
    const called = said(one.name), name = h("bdi", { text: shortNames(called), title: called });
    this.heading.replaceChildren(h("span", { class: "gac-small", text: `${LETTERS[this.index]} ` }), name,
      ...(isChosen ? [h("span", { class: "gac-battle-chosen", text: ` · ${t("arena.chosen")}` })] : []));
    const who = one.member === null ? saidShort(one.settings) || t("ensemble") : one.member === one.name ? t("arena.alone") : t("tip.alone", { name: shortNames(one.member) });
    const perToken = one.tokens ? t("arena.passes", { passes: number(one.forwards / one.tokens, 2) }) : null;
    const share = one.member === null && one.tokens ? t("export.ensembled", { share: percent(one.ensembled / one.tokens) }) : null;
    this.facts.textContent = this.facts.title = [t("count.tokens", { n: one.tokens }), seconds(one.seconds), share, perToken, who].filter(Boolean).join(" · ");
    this.root.setAttribute("aria-label", called);
  }
}
