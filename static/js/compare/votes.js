// The vote bar: one key each, undo for ten seconds.

import { labelOf } from "./ensemble_card.js";
import { answerTo } from "../page/browser.js";
import { h, memberName, shortName } from "../page/elements.js";
import { rich, said, t } from "../page/words.js";

const UNDO_S = 10;

export class Votes {
  /** `send(outcome)` gives the server's reply; no outcome takes the vote back. */
  constructor(root, send) {
    Object.assign(this, { root, send, options: [], outcome: null, timer: 0 });
  }

  start(run) {
    clearInterval(this.timer);
    const members = run.members.map((name, index) => [`member:${name}`, name, index]);
    const ensembles = [["ensemble", labelOf({ words: run.beside?.here }), null], ["beside", labelOf({ words: run.beside?.there }), null]];
    const answers = [...ensembles, ...members].filter(([stream]) => run.streams.includes(stream));
    this.options = [
      ...answers.map(([outcome, name, member], index) => ({ outcome, name, member, key: index < 9 ? String(index + 1) : "" })),
      { outcome: "tie", name: t("vote.tie"), member: null, key: "0" },
      { outcome: "all-bad", name: t(answers.length === 2 ? "vote.both-bad" : "vote.all-bad"), member: null, key: "x" },
    ];
    this.outcome = this.options.some(({ outcome }) => outcome === run.outcome) ? run.outcome : null; // the answer beside may be deleted
    this.render();
  }

  render() {
    const voted = this.options.find((option) => option.outcome === this.outcome);
    this.root.classList.toggle("is-voted", Boolean(voted));
    this.root.style.minHeight = voted ? `${this.root.getBoundingClientRect().height}px` : ""; // what stands below stays
    if (voted) {
      this.message = h("span", { role: "status" }, ...rich("vote.chosen", { name: h("b", {}, h("bdi", { text: voted.member === null ? voted.name : shortName(voted.name) })) }));
      this.undoButton = h("button", { type: "button", class: "gac-button", hidden: true, onclick: () => this.takeBack() });
      this.root.replaceChildren(this.message, this.undoButton);
      return;
    }
    this.root.replaceChildren(
      h("span", { class: "gac-votes-title", text: t("vote.title") }),
      ...this.options.map((option) => h("button", { type: "button", class: "gac-vote", onclick: () => this.vote(option.outcome) },
        option.member === null ? h("span", { text: option.name, title: option.name }) : memberName(option.name, option.member),
        option.key ? h("kbd", { text: option.key }) : null)),
      h("span", { class: "gac-votes-early", text: t("vote.early") })); // last, since it goes
  }

  onKey(key) {
    const option = this.options.find((candidate) => candidate.key === key);
    if (!option || this.outcome) return false;
    this.vote(option.outcome);
    return true;
  }

  async vote(outcome) {
    if (this.outcome) return;
    this.outcome = outcome;
    this.render(); // at once, however long the server takes
    const { options } = this, reply = await answerTo(this.send(outcome));
    if (options !== this.options) return; // another run is on the board
    if (!reply.error) return this.countDown(UNDO_S);
    this.outcome = null;
    this.render();
    this.complain(reply.error);
  }

  countDown(left) {
    clearInterval(this.timer);
    const tick = () => {
      this.undoButton.hidden = left <= 0;
      this.undoButton.textContent = t("vote.undo", { left });
      if (left <= 0) clearInterval(this.timer);
      if (document.activeElement === this.message) this.undoButton.focus(); // after a vote by the keyboard
      if (document.activeElement !== this.undoButton) left -= 1; // no hurry for who is about to press it
    };
    tick();
    this.timer = setInterval(tick, 1000);
  }

  async takeBack() {
    const { options } = this, reply = await answerTo(this.send(""));
    if (options !== this.options) return;
    if (reply.error) return this.complain(reply.error);
    clearInterval(this.timer);
    this.outcome = null;
    this.render();
  }

  complain(text) {
    this.root.querySelector(".gac-votes-error")?.remove();
    this.root.append(h("span", { class: "gac-votes-error", role: "alert", text: said(text) }));
  }
}
