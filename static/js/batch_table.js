// A row of the batch's table: the prompt, every answer with its vote, the whole in Compare.

/** `names`: of the columns; `act(name, ...)`: "vote" with an outcome, "" to take it back; "open". */
class BatchRow {
  constructor(number, names, act) {
    Object.assign(this, { number, names, act, run: null, root: h("tr") });
  }

  /** Not begun, or refused. */
  await(prompt, error) {
    this.draw([h("td", { colspan: this.names.length + 1, class: error ? "is-error" : "gac-small", text: error || "waits" })], prompt);
  }

  show(run) {
    this.run = run;
    const answers = this.names.map((name) => run.answers.find((answer) => answer.name === name)); // some may not have taken part
    this.draw([...answers.map((answer) => (answer ? this.answer(answer) : h("td"))), this.rest()], run.prompt);
  }

  draw(cells, prompt) {
    this.root.replaceChildren(h("th", { scope: "row" }, h("span", { class: "gac-small", text: String(this.number) }),
      h("div", { class: "gac-batch-text", dir: "auto", text: prompt })), ...cells);
  }

  answer({ stream, name, text, reason, detail }) {
    return h("td", { "data-name": name },
      h("div", { class: "gac-batch-text", dir: "auto", text: text || (reason ? "(nothing)" : "…") }),
      reason === "error" ? h("p", { class: "is-error", text: detail || "failed" }) : null,
      reason ? this.voteButton(stream, name, `${name} best`) : null);
  }

  rest() {
    const isOver = this.run.answers.every((answer) => answer.reason);
    return h("td", { class: "gac-batch-rest" },
      isOver ? this.voteButton("tie", "Tie", "Tie") : null,
      isOver ? this.voteButton("all-bad", "All bad", "All bad") : null,
      h("button", { type: "button", class: "gac-button", text: "Open", "aria-label": `Open prompt ${this.number} in Compare`, onclick: () => this.act("open", this.run) }));
  }

  voteButton(outcome, name, label) {
    const isChosen = this.run.outcome === outcome, isVote = !["tie", "all-bad"].includes(outcome);
    return h("button", {
      type: "button", class: "gac-vote", "aria-pressed": String(isChosen), "aria-label": `Prompt ${this.number}: ${label}`,
      text: isVote ? (isChosen ? "Best" : "Best?") : name, onclick: () => this.act("vote", this.run, isChosen ? "" : outcome),
    });
  }
}

const cell = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text); // a spreadsheet computes nothing
const quoted = (text) => `"${cell(text).replaceAll('"', '""')}"`;

function batchCsv(runs, names) {
  const heading = ["prompt", ...names, "vote"];
  const lines = runs.map((run) => [run.prompt, ...heading.slice(1, -1).map((name) => run.answers.find((answer) => answer.name === name)?.text ?? ""), run.outcome ?? ""]);
  return [heading, ...lines].map((line) => line.map(quoted).join(",")).join("\n");
}

const batchJsonl = (runs) => runs.map((run) => JSON.stringify({
  prompt: run.prompt, answers: Object.fromEntries(run.answers.map(({ name, text }) => [name, text])), vote: run.outcome,
})).join("\n");
