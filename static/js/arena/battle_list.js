// The visitor's own battles: looked at again, saved, deleted.

import { download } from "../page/browser.js";
import { h } from "../page/elements.js";
import { moment } from "../page/numbers.js";
import { said, saidShort, t } from "../page/words.js";
import { voteWords } from "./battle_votes.js";

const FORMATS = { jsonl: "JSONL", "trl-preference": "TRL preference", "trl-unpaired": "TRL unpaired", lmsys: "LMSYS", "arena-rank": "arena-rank", csv: "CSV" };

export class BattleList {
  /** `ask(name, fields)` calls the server; `actions`: {onOpen(id), onDeleted(id)}. */
  constructor(root, ask, actions) {
    Object.assign(this, { root, ask, actions, list: root.querySelector("ol"), note: root.querySelector("p"), keep: root.querySelector(".gac-own-save") });
    this.format = this.keep.querySelector("select");
    this.format.replaceChildren(...Object.entries(FORMATS).map(([value, text]) => h("option", { value, text })));
    root.addEventListener("toggle", () => this.refresh());
    this.keep.querySelector("button").addEventListener("click", () => this.save());
  }

  async refresh() {
    if (!this.root.open) return;
    const reply = await this.ask("own_battles");
    if (reply.error) return this.say(said(reply.error));
    this.list.replaceChildren(...reply.battles.map((battle) => this.item(battle)));
    this.keep.hidden = !reply.num;
    const shown = reply.battles.length;
    this.say(!reply.num ? t("none") : shown < reply.num ? t("arena.own.some", { shown, n: reply.num }) : "");
  }

  item(battle) {
    const label = battle.prompt.slice(0, 60), names = battle.names.map((name) => saidShort(name)).join(" – ");
    const vote = battle.outcome ? voteWords(battle.outcome) : t("history.not-voted");
    const facts = [moment(battle.created_at), names, vote, battle.turns > 1 ? t("count.turns", { n: battle.turns }) : null, battle.is_blind ? null : t("arena.own.seen")];
    return h("li", { "data-battle": battle.id },
      h("button", { type: "button", class: "gac-run-open", onclick: () => this.actions.onOpen(battle.id) },
        h("span", { class: "gac-run-prompt", dir: "auto", text: battle.prompt || t("no-text") }), h("span", { class: "gac-small", text: facts.filter(Boolean).join(" · ") })),
      this.deleteButton(battle, label));
  }

  /** Asks before something is gone for good, in its own place. */
  deleteButton(battle, label) {
    const words = () => { button.textContent = t(isSure ? "arena.own.sure" : "delete"); button.setAttribute("aria-label", isSure ? t("arena.own.sure") : t("delete.of", { label })); };
    let isSure = false;
    const button = h("button", { type: "button", class: "gac-icon gac-danger", onclick: async () => {
      if (!isSure) { isSure = true; return words(); }
      const reply = await this.ask("delete_battle", { battle: battle.id });
      if (reply.error) return this.say(said(reply.error));
      this.actions.onDeleted(battle.id);
      await this.refresh();
      this.root.querySelector("summary").focus();
    }, onblur: () => { isSure = false; words(); } });
    words();
    return button;
  }

  async save() {
    const reply = await this.ask("save_battles", { format: this.format.value });
    if (reply.error) return this.say(said(reply.error));
    download(new Blob([reply.content], { type: "text/plain" }), reply.name);
  }

  say(text) {
    this.note.textContent = text;
  }
}
