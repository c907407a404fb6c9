// The Batch tab: prompts are sent, the table fills as they are answered, and is found again after a reload.

import { batchCsv, batchJsonl, BatchRow } from "./rows.js";
import { isWanted, outcomeOptions, totalsOf, verdictOf } from "./totals.js";
import { expectHere } from "../compare/compare.js";
import { asking, download, onceAtATime, parseJson, readKept, visitorKey, writeKept } from "../page/browser.js";
import { h, memberName } from "../page/elements.js";
import { fillFromFile } from "../page/files.js";
import { lookAgain } from "../page/members.js";
import { said, t } from "../page/words.js";
import { Awaited, QUESTION } from "../settings/awaited.js";
import { settings } from "../settings/settings.js";

const POLL_MS = 1000;
const RUNS = "gac.batch"; // the ids of the last batch's runs: the table survives the server too

let batch = null;

export function start(part) {
  batch = new Batch(part);
  batch.open();
}

/** The tab is chosen. */
export const refreshBatch = () => (batch?.overview ? batch.refresh(true) : batch?.open());

class Batch {
  constructor({ element, props, server, trigger, watch }) {
    this.part = (selector) => element.querySelector(selector);
    Object.assign(this, { ask: asking(server), trigger, overview: null, rows: [], timer: 0, form: this.part("form"), filter: this.part(".gac-batch-shown"), cancel: this.part("[data-act=cancel]") });
    this.open = onceAtATime(() => this.prepare()); // the tab may be chosen before the first reply has come
    this.form.addEventListener("submit", (event) => this.begin(event));
    this.filter.addEventListener("change", () => this.sum());
    this.cancel.addEventListener("click", () => this.callOff());
    for (const [ending, type, write] of [["csv", "text/csv", (runs) => batchCsv(runs, this.names)], ["jsonl", "application/jsonl", batchJsonl]]) {
      this.part(`[data-act=${ending}]`).addEventListener("click", () => {
        download(new Blob([write(this.rows.map((row) => row.run).filter(Boolean))], { type }), `answers.${ending}`);
      });
    }
    this.awaited = new Awaited("batch", {
      box: () => this.form.elements.prompts, ask: () => this.form.requestSubmit(), onChange: () => this.say(this.awaited.isOn ? t("status.awaits-members") : ""),
    });
    this.form.elements.prompts.value ||= this.awaited.draft; // a reload has emptied it
    if (this.awaited.isOn) this.awaited.onChange();
    watch("value", () => this.answer(parseJson(props.value, null)));
  }

  /** `isOfPoll`: until the next good reply. */
  say(text, isOfPoll = false) {
    this.isOfPoll = isOfPoll;
    this.part(".gac-lab-note").textContent = said(text);
  }

  get names() {
    return [t("ensemble"), ...this.overview.members];
  }

  async prepare() {
    const reply = await this.ask("batch_overview");
    if (reply.error) return this.say(reply.error);
    this.overview = reply;
    fillFromFile(this.part("input[type=file]"), this.form.elements.prompts, reply.max_chars, (text) => this.say(text));
    this.part("thead").replaceChildren(h("tr", {}, h("th", { scope: "col", text: t("prompt") }), h("th", { scope: "col", text: t("ensemble") }),
      ...reply.members.map((name, index) => h("th", { scope: "col" }, memberName(name, index))),
      h("th", { scope: "col", text: t("batch.all") })));
    this.filter.elements.vote.append(...outcomeOptions(this.names));
    this.part(".gac-lab-run").disabled = false;
    await this.refresh(true);
  }

  /** What runs, and the rows that changed. `isFresh`: votes and deletions elsewhere may have changed the others too. */
  async refresh(isFresh = false) {
    clearTimeout(this.timer);
    const { error, batch: running } = await this.ask("batch_state");
    if (error) {
      // A batch that no page asks for ends.
      if (!this.part(".gac-lab-running").hidden) this.timer = setTimeout(() => this.refresh(), POLL_MS);
      return this.say(error, true);
    }
    if (this.isOfPoll) this.say("");
    const found = running?.rows ?? readKept(RUNS, []).map((run) => ({ run, prompt: "", is_over: true, error: "" }));
    if (running) writeKept(RUNS, found.map((row) => row.run).filter(Boolean));
    if (found.length !== this.rows.length || running?.rows.some((row, index) => this.isOther(row, this.rows[index]))) this.makeRows(found.length);
    await this.fill(found.map((row, index) => [this.rows[index], row]).filter(([drawn]) => isFresh || !drawn.isSettled));
    const here = found.filter((row, index) => !this.rows[index].isGone);
    if (!running && here.length < found.length) {
      writeKept(RUNS, here.map((row) => row.run));
      return this.refresh(true);
    }
    this.part(".gac-batch-table").hidden = this.part(".gac-batch-exports").hidden = this.filter.hidden = !this.rows.length;
    this.sum();
    this.showProgress(running);
    if (this.rows.some((row) => !row.isSettled)) this.timer = setTimeout(() => this.refresh(), POLL_MS);
  }

  isOther(row, drawn) {
    return row.run && drawn.run && drawn.run.id !== row.run;
  }

  makeRows(count) {
    this.rows = Array.from({ length: count }, (_, index) => new BatchRow(index + 1, this.names, (name, run, outcome) => this.act(name, run, outcome)));
    this.part("tbody").replaceChildren(...this.rows.map((row) => row.root));
  }

  /** Pairs of a row of the table and what the server says of it. */
  async fill(pairs) {
    const begun = pairs.filter(([, row]) => row.run), most = this.overview.max_runs;
    for (const [drawn, row] of pairs) if (!row.run) drawn.await(row.prompt, row.error);
    for (let at = 0; at < begun.length; at += most) {
      const some = begun.slice(at, at + most);
      const reply = await this.ask("batch_runs", { runs: some.map(([, row]) => row.run).join(" ") });
      if (reply.error) return this.say(reply.error);
      some.forEach(([drawn], index) => {
        const run = reply.runs[index];
        if (run.error) Object.assign(drawn, { isGone: run.is_gone }).await("", run.error);
        else drawn.show(run, some[index][1].error);
      });
    }
    for (const [drawn, row] of pairs) drawn.isSettled = row.is_over;
  }

  showProgress(running) {
    const isLive = Boolean(running) && !running.is_over;
    this.part(".gac-lab-running").hidden = !isLive;
    this.part(".gac-lab-run").disabled = isLive;
    if (!running) return;
    const numDone = running.rows.filter((row) => row.is_over).length;
    this.part(".gac-lab-progress").textContent = running.is_cancelled ? t("batch.ending") : t("progress", { done: numDone, all: running.rows.length });
    this.part("progress").value = numDone / running.rows.length;
    this.cancel.disabled = running.is_cancelled;
  }

  async act(name, run, outcome) {
    if (name === "open") {
      await expectHere();
      return this.trigger("open", { key: visitorKey(), run: run.id });
    }
    const reply = await this.ask("vote_run", { run: run.id, outcome });
    this.say(reply.error ?? "");
    if (reply.error) return;
    const row = this.rows.find((candidate) => candidate.run?.id === run.id), at = [...row.root.querySelectorAll("button")].indexOf(document.activeElement);
    row.show(Object.assign(row.run, { outcome: outcome || null }), row.error);
    row.root.querySelectorAll("button")[at]?.focus(); // the one that was pressed, drawn anew
    this.sum(false);
  }

  /** Say what the answers come to, and show the rows that are wanted. `isSifted` = false: a vote hides no row. */
  sum(isSifted = true) {
    const { answers, vote } = this.filter.elements;
    const runs = this.rows.map((row) => row.run).filter(Boolean), isOver = this.rows.every((row) => row.isSettled);
    this.part(".gac-batch-totals").textContent = totalsOf(runs, this.names);
    this.part(".gac-outcome").textContent = isOver ? verdictOf(runs, this.names) : "";
    if (isSifted) for (const row of this.rows) row.root.hidden = !isWanted(row.run, answers.value, vote.value);
  }

  begin(event) {
    event.preventDefault();
    if (this.awaited.hold()) return;
    this.say("");
    this.trigger("started", { key: visitorKey(), prompts: this.form.elements.prompts.value, settings: settings(), at: Date.now() });
  }

  /** The server took the prompts, or says why not. */
  answer(reply) {
    if (!reply) return;
    this.say(reply.error);
    if (reply.passes) {
      this.awaited.refused(QUESTION);
      lookAgain();
    }
    if (reply.error) return;
    this.rows = [];
    this.refresh();
  }

  async callOff() {
    this.cancel.disabled = true;
    const reply = await this.ask("batch_cancel");
    if (reply.error) this.say(reply.error);
    await this.refresh();
  }
}
