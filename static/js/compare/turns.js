// The conversation's earlier turns, above the prompt; each opens on the board.

import { board } from "./compare.js";
import { parseJson, visitorKey } from "../page/browser.js";
import { h } from "../page/elements.js";
import { t } from "../page/words.js";

let turns = null;

export function start(part) {
  turns = new Turns(part);
}

/** A turn was deleted: the list goes on without it, and says so. */
export const forgetTurn = (id) => turns?.forget(id);

class Turns {
  constructor({ element, props, trigger, watch }) {
    Object.assign(this, { list: element.querySelector(".gac-turns"), props, trigger });
    watch("value", () => this.draw());
    this.draw();
  }

  get all() {
    return parseJson(this.props.value, []);
  }

  forget(id) {
    const { all } = this;
    if (!all.some((turn) => turn.id === id)) return;
    const before = all.find((turn) => turn.deleted)?.deleted ?? 0;
    this.props.value = JSON.stringify([{ deleted: before + 1 }, ...all.filter((turn) => turn.id && turn.id !== id)]);
    this.draw();
  }

  draw() {
    const { list, all } = this;
    list.hidden = !all.length;
    list.replaceChildren(...all.map((turn) => this.item(turn)));
    const shown = list.querySelector("[aria-current]");
    document.body.classList.toggle("gac-shows-earlier", Boolean(shown));
    list.scrollTop = shown ? shown.offsetTop - list.offsetTop : list.scrollHeight; // the newest are in sight
  }

  item({ id, deleted, prompt, answer, is_shown: isShown }) {
    if (!id && !deleted) { // of somebody else, who shares it
      return h("li", {}, h("details", {}, h("summary", { dir: "auto", text: prompt }), h("p", { class: "gac-turn-whole", dir: "auto", text: answer || t("no-text") })));
    }
    if (deleted) return h("li", { class: "gac-small", text: t("turns.deleted", { n: deleted }) });
    return h("li", {}, h("button", { type: "button", "aria-current": isShown ? "true" : null, onclick: () => this.open(id) },
      h("span", { class: "gac-turn-prompt", dir: "auto", text: prompt }),
      h("span", { class: "gac-turn-answer", dir: "auto", text: answer || t("no-text") })));
  }

  async open(id) {
    const shown = await board;
    await shown.clear();
    shown.expect();
    this.trigger("open", { key: visitorKey(), run: id });
  }
}
