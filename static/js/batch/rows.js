// A row of the batch's table: the prompt, every answer with its vote, the whole in Compare.

import { h, shortName } from "../page/elements.js";
import { said, t } from "../page/words.js";

/** `names`: of the columns; `act(name, ...)`: "vote" with an outcome, "" to take it back; "open". */
export class BatchRow {
  constructor(number, names, act) {
    Object.assign(this, { number, names, act, run: null, root: h("tr") });
  }

  /** Not begun, refused, or deleted. */
  await(prompt, error) {
    this.run = null;
    this.draw([h("td", { colspan: this.names.length + 1, class: error ? "is-error" : "gac-small", text: said(error) || t("run.waiting") })], prompt);
  }

  /** `error`: why the answers are not kept. */
  show(run, error = "") {
    Object.assign(this, { run, error });
    const answers = this.names.map((name, index) => answerOf(run, index, name)); // some may not have taken part
    this.draw([...answers.map((answer, index) => (answer ? this.answer(answer, this.names[index]) : h("td"))), this.rest()], run.prompt);
  }

  draw(cells, prompt) {
    this.root.replaceChildren(h("th", { scope: "row" }, h("span", { class: "gac-small", text: String(this.number) }),
      h("div", { class: "gac-batch-text", dir: "auto", text: prompt })), ...cells);
  }

  answer({ stream, text, reason, detail }, name) {
    return h("td", { "data-name": shortName(name) },
      h("div", { class: "gac-batch-text", dir: "auto", text: text || (reason ? t("no-text") : "…") }),
      reason === "error" ? h("p", { class: "is-error", text: said(detail) || t("run.failed") }) : null,
      reason ? this.voteButton(stream, t("batch.best"), t("vote.best", { name })) : null);
  }

  rest() {
    const isOver = this.run.answers.every((answer) => answer.reason);
    return h("td", { class: "gac-batch-rest" },
      this.error ? h("p", { class: "is-error", text: said(this.error) }) : null,
      isOver ? this.voteButton("tie", t("vote.tie"), t("vote.tie")) : null,
      isOver ? this.voteButton("all-bad", t("vote.all-bad"), t("vote.all-bad")) : null,
      h("button", { type: "button", class: "gac-button", text: t("open"), "aria-label": t("batch.open.of", { number: this.number }), onclick: () => this.act("open", this.run) }));
  }

  voteButton(outcome, name, label) {
    const isChosen = this.run.outcome === outcome;
    return h("button", {
      type: "button", class: "gac-vote", "aria-pressed": String(isChosen), "aria-label": t("batch.vote", { number: this.number, label }),
      text: name, onclick: () => this.act("vote", this.run, isChosen ? "" : outcome),
    });
  }
}

/** A column's answer; the first is the ensemble's. */
const answerOf = (run, index, name) => run.answers.find((answer) => (index ? answer.name === name : answer.stream === "ensemble"));

const cell = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text); // a spreadsheet computes nothing
const quoted = (text) => `"${cell(text).replaceAll('"', '""')}"`;

export function batchCsv(runs, names) {
  const heading = ["prompt", ...names, "vote"];
  const lines = runs.map((run) => [run.prompt, ...names.map((name, index) => answerOf(run, index, name)?.text ?? ""), run.outcome ?? ""]);
  return [heading, ...lines].map((line) => line.map(quoted).join(",")).join("\n");
}

export const batchJsonl = (runs) => runs.map((run) => JSON.stringify({
  prompt: run.prompt, answers: Object.fromEntries(run.answers.map(({ name, text }) => [name, text])), vote: run.outcome,
})).join("\n");
