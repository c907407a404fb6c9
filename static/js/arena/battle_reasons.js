// Why: reasons for each side and a comment, after the vote. They are sent once a field is left, one after the other.

import { LETTERS, SIDES } from "./battle_card.js";
import { h } from "../page/elements.js";
import { said, t } from "../page/words.js";

const REASONS = ["useful", "complete", "creative", "clear", "incorrect", "superficial", "instructions-not-followed"];

export class BattleReasons {
  /** `send({battle, left, right, comment})` gives the server's reply. */
  constructor(root, send) {
    Object.assign(this, { root, send, battle: null, sending: Promise.resolve() });
    root.addEventListener("submit", (event) => event.preventDefault());
    root.addEventListener("input", () => { this.note.textContent = ""; });
    root.addEventListener("change", () => this.save());
  }

  /** `remark`: what was saved before, if anything; what is saved next takes its place. */
  start(battle, remark) {
    if (battle === this.battle) return;
    this.battle = battle;
    this.note = h("p", { class: "gac-small", role: "status" });
    const boxes = (side) => REASONS.map((reason) => h("label", { class: "gac-reason" }, h("input", { type: "checkbox", name: side, value: reason, checked: remark?.reasons[side].includes(reason) }), h("span", { text: t(`reason.${reason}`) })));
    this.root.replaceChildren(
      ...SIDES.map((side, index) => h("fieldset", {}, h("legend", { text: t("arena.answer", { side: LETTERS[index] }) }), ...boxes(side))),
      h("label", { class: "gac-arena-comment" }, h("span", { text: t("arena.comment") }), h("textarea", { name: "comment", rows: "1", maxlength: "2000", text: remark?.comment })), this.note);
    this.saved = JSON.stringify(this.fields);
  }

  get fields() {
    const chosen = (side) => [...this.root.querySelectorAll(`[name=${side}]:checked`)].map((box) => box.value);
    return { battle: this.battle, left: chosen("left"), right: chosen("right"), comment: this.root.elements.comment.value };
  }

  /** Send what has not been sent yet, after what is under way: the last one counts. */
  async save() {
    if (!this.battle || JSON.stringify(this.fields) === this.saved) return;
    const { fields } = this, saved = JSON.stringify(fields);
    Object.assign(this, { saved, sending: this.sending.then(() => this.send(fields)) });
    const error = await this.sending;
    if (this.saved !== saved) return;
    if (error) this.saved = "";
    if (JSON.stringify(this.fields) !== saved) return; // what has been typed since is not saved yet
    this.note.textContent = error ? said(error) : t("keep.saved");
    this.note.classList.toggle("is-error", Boolean(error));
  }
}
