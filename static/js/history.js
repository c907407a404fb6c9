// The visitor's own runs: search, reopen, run again, delete.

const OUTCOMES = { ensemble: "ensemble best", tie: "tie", "all-bad": "all bad" };
const STATUSES = { aborted: "stopped" };
const SEARCH_MS = 250;
const find = (selector) => element.querySelector(selector);
const runs = find(".gac-runs"), note = find(".gac-history-note"), search = find(".gac-search");
const more = find("[data-act=more]"), dialog = find(".gac-dialog");
let round = 0; // a slow answer to an older question is dropped
let timer = 0;

async function load(offset = 0) {
  const mine = ++round;
  const reply = (await server.list_runs({ key: visitorKey(), search: search.value, offset })) ?? { error: "The server did not answer." };
  if (mine !== round) return;
  if (reply.error) {
    note.textContent = reply.error;
    return;
  }
  const rows = reply.runs.map(row);
  if (offset) runs.append(...rows);
  else runs.replaceChildren(...rows);
  more.hidden = !reply.has_more;
  note.textContent = runs.children.length ? "" : search.value ? "No run matches." : "Your runs will be listed here.";
}

function row(run) {
  const outcome = run.outcome ? OUTCOMES[run.outcome] ?? `${run.outcome.replace("member:", "")} best` : null;
  const facts = [
    new Date(run.created_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }),
    run.status === "finished" ? null : STATUSES[run.status] ?? run.status,
    run.branch_position === null ? null : `branch at token ${run.branch_position + 1}`,
    run.num_tokens ? `${plural(run.num_tokens, "token")}, ${run.num_ensembled} ensembled` : null,
    outcome,
  ].filter(Boolean);
  const act = (text, label, onclick, extra = "") => h("button", { type: "button", class: `gac-icon ${extra}`, text, "aria-label": `${label}: ${run.prompt.slice(0, 60)}`, onclick });
  const item = h("li", {},
    h("button", { type: "button", class: "gac-run-open", onclick: () => go('open', run.id) },
      h("span", { class: "gac-run-prompt", dir: "auto", text: run.status === "damaged" ? "This run cannot be read any more." : run.prompt }),
      h("span", { class: "gac-small", text: facts.join(" · ") })),
    act("Run again", "Run again", () => go('rerun', run.id)),
    act("Delete", "Delete", () => remove(run, item), "gac-danger"));
  return item;
}

async function go(event, id) {
  await window.gac.clear();
  window.gac.expect();
  trigger(event, { key: visitorKey(), run: id });
}

function confirmed(title, text) {
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector("p").textContent = text;
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((answer) => dialog.addEventListener("close", () => answer(dialog.returnValue === "delete"), { once: true }));
}

async function remove(run, item) {
  if (!(await confirmed("Delete this run?", "Its prompt, answers and traces are gone for good. Later turns stay; they and their conversation go on without it. A branch, or the run again, is a run of its own."))) return;
  const reply = await server.delete_run({ key: visitorKey(), run: run.id });
  note.textContent = reply?.error ?? "Deleted.";
  if (reply?.error) return;
  item.remove();
  window.gac.forgetTurn?.(run.id);
  if (window.gac.isShowing(run.id)) trigger('cleared');
}

async function removeAll() {
  if (!(await confirmed("Delete all your data?", "Every run, trace and vote of this browser is gone for good."))) return;
  const reply = await server.delete_all({ key: visitorKey() });
  await load();
  note.textContent = reply?.error ?? "All your data is deleted.";
  if (!reply?.error) trigger('cleared');
}

search.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(load, SEARCH_MS);
});
more.addEventListener("click", () => load(runs.children.length));
find("[data-act=delete-all]").addEventListener("click", removeAll);
window.gac.refreshHistory = () => load();
load();
