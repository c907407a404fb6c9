// The Batch tab: prompts are sent, the table fills as they are answered, and is found again after a reload.

const POLL_MS = 1000;
const RUNS = "gac.batch"; // the ids of the last batch's runs: the table survives the server too
const part = (selector) => element.querySelector(selector);
const form = part("form"), note = part(".gac-lab-note"), running = part(".gac-lab-running"), cancel = part("[data-act=cancel]");
const table = part(".gac-batch-table"), body = part("tbody");
let overview = null, rows = [], timer = 0;

async function ask(name, fields = {}) {
  return answerTo(server[name]({ key: visitorKey(), ...fields }));
}

const say = (text) => { note.textContent = said(text); };

const names = () => [t("ensemble"), ...overview.members];

async function open() {
  const reply = await ask("batch_overview");
  if (reply.error) return say(reply.error);
  overview = reply;
  fillFromFile(part("input[type=file]"), form.elements.prompts, overview.max_chars, say);
  part("thead").replaceChildren(h("tr", {}, h("th", { scope: "col", text: t("batch.prompt") }), h("th", { scope: "col", text: t("ensemble") }),
    ...overview.members.map((name, index) => h("th", { scope: "col" }, memberName(name, index))),
    h("th", { scope: "col", text: t("batch.all") })));
  await refresh(true);
}

/** What runs, and the rows that changed. `isFresh`: votes and deletions elsewhere may have changed the others too. */
async function refresh(isFresh = false) {
  clearTimeout(timer);
  const state = await ask("batch_state");
  if (state.error) {
    if (!running.hidden) timer = setTimeout(refresh, POLL_MS); // a batch that no page asks for ends
    return say(state.error);
  }
  const found = state.batch?.rows ?? readKept(RUNS, []).map((run) => ({ run, prompt: "", is_over: true, error: "" }));
  if (state.batch) writeKept(RUNS, found.map((row) => row.run).filter(Boolean));
  if (found.length !== rows.length || state.batch?.rows.some((row, index) => row.run && rows[index].run && rows[index].run.id !== row.run)) begin(found.length);
  await fill(found.map((row, index) => [rows[index], row]).filter(([drawn]) => isFresh || !drawn.isSettled));
  table.hidden = part(".gac-batch-exports").hidden = !rows.length;
  showProgress(state.batch);
  if (state.batch && !state.batch.is_over) timer = setTimeout(refresh, POLL_MS);
}

function begin(count) {
  rows = Array.from({ length: count }, (_, index) => new BatchRow(index + 1, names(), act));
  body.replaceChildren(...rows.map((row) => row.root));
}

/** Pairs of a row of the table and what the server says of it. */
async function fill(pairs) {
  const begun = pairs.filter(([, row]) => row.run);
  for (const [drawn, row] of pairs) if (!row.run) drawn.await(row.prompt, row.error);
  for (let at = 0; at < begun.length; at += overview.max_runs) {
    const some = begun.slice(at, at + overview.max_runs);
    const reply = await ask("batch_runs", { runs: some.map(([, row]) => row.run).join(" ") });
    if (reply.error) return say(reply.error);
    some.forEach(([drawn], index) => {
      const run = reply.runs[index];
      if (run.error) drawn.await("", run.error);
      else drawn.show(run, some[index][1].error);
    });
  }
  for (const [drawn, row] of pairs) drawn.isSettled = row.is_over;
}

function showProgress(batch) {
  running.hidden = !batch || batch.is_over;
  part(".gac-lab-run").disabled = Boolean(batch) && !batch.is_over;
  if (!batch) return;
  const numDone = batch.rows.filter((row) => row.is_over).length;
  part(".gac-lab-progress").textContent = batch.is_cancelled ? t("batch.ending") : t("batch.progress", { done: numDone, n: batch.rows.length });
  part("progress").value = numDone / batch.rows.length;
  cancel.disabled = batch.is_cancelled;
}

async function act(name, run, outcome) {
  if (name === "open") return trigger("open", { key: visitorKey(), run: run.id });
  const reply = await ask("batch_vote", { run: run.id, outcome });
  say(reply.error ?? "");
  if (reply.error) return;
  const row = rows.find((candidate) => candidate.run?.id === run.id), at = [...row.root.querySelectorAll("button")].indexOf(document.activeElement);
  row.show(Object.assign(row.run, { outcome: outcome || null }), row.error);
  row.root.querySelectorAll("button")[at]?.focus(); // the one that was pressed, drawn anew
}

const save = (ending, type, text) => download(new Blob([text], { type }), `answers.${ending}`);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  say("");
  trigger("started", { key: visitorKey(), prompts: form.elements.prompts.value, settings: window.gac.settings(), at: Date.now() });
});
cancel.addEventListener("click", async () => {
  cancel.disabled = true;
  const reply = await ask("batch_cancel");
  if (reply.error) say(reply.error);
  await refresh();
});
part("[data-act=csv]").addEventListener("click", () => save("csv", "text/csv", batchCsv(rows.map((row) => row.run).filter(Boolean), names())));
part("[data-act=jsonl]").addEventListener("click", () => save("jsonl", "application/jsonl", batchJsonl(rows.map((row) => row.run).filter(Boolean))));
watch("value", () => {
  const reply = parseJson(props.value, null);
  if (!reply) return;
  say(reply.error);
  if (!reply.error) { rows = []; refresh(); }
});
window.gac.refreshBatch = () => (overview ? refresh(true) : open());
open();
