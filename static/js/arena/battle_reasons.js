// Why: reasons for each side and a comment, after the vote. They are sent a moment after the last change.

import { LETTERS, SIDES } from "./battle_card.js";
import { h } from "../page/elements.js";
import { said, t } from "../page/words.js";

const REASONS = ["useful", "complete", "creative", "clear", "incorrect", "superficial", "instructions-not-followed"];
const REST_MS = 900;

export class BattleReasons {
  /** `send({left, right, comment})` gives the server's reply. */
  constructor(root, send) {
    Object.assign(this, { root, send, timer: 0, battle: null });
    root.addEventListener("submit", (event) => event.preventDefault());
    root.addEventListener("input", () => {
      this.note.textContent = "";
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.save(), REST_MS);
    });
    root.addEventListener("change", (event) => { if (event.target.matches("textarea")) this.save(); });
  }

  /** `remark`: what was saved before, if anything; what is saved next takes its place. */
  start(battle, remark) {
    if (battle === this.battle) return;
    clearTimeout(this.timer);
    Object.assign(this, { timer: 0, battle, saved: "" });
    this.note = h("p", { class: "gac-small", role: "status" });
    const boxes = (side) => REASONS.map((reason) => h("label", { class: "gac-reason" }, h("input", { type: "checkbox", name: side, value: reason, checked: remark?.reasons[side].includes(reason) }), h("span", { text: t(`reason.${reason}`) })));
    this.root.replaceChildren(
      ...SIDES.map((side, index) => h("fieldset", {}, h("legend", { text: t("arena.answer", { side: LETTERS[index] }) }), ...boxes(side))),
      h("label", { class: "gac-arena-comment" }, h("span", { text: t("arena.comment") }), h("textarea", { name: "comment", rows: "1", maxlength: "2000", text: remark?.comment })), this.note);
  }

  /** Send what has not been sent yet: another battle is about to take this one's place. */
  flush() {
    if (this.timer) this.save();
  }

  async save() {
    clearTimeout(this.timer);
    this.timer = 0;
    const chosen = (side) => [...this.root.querySelectorAll(`[name=${side}]:checked`)].map((box) => box.value);
    const wanted = { left: chosen("left"), right: chosen("right"), comment: this.root.elements.comment.value };
    if (JSON.stringify(wanted) === this.saved) return;
    this.saved = JSON.stringify(wanted);
    const error = await this.send(wanted);
    if (error) this.saved = "";
    this.note.textContent = error ? said(error) : t("keep.saved");
    this.note.classList.toggle("is-error", Boolean(error));
  }
}
