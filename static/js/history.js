// The visitor's own conversations: search, filter, name, star, reopen, run again, delete one, many or all.

const part = (selector) => element.querySelector(selector);
const list = part(".gac-conversations"), note = part(".gac-history-note");
const more = part("[data-act=more]"), chosen = part("[data-act=delete-chosen]"), dialog = part(".gac-dialog");
const GONE = "Prompt, answers and traces are gone for good.";
let round = 0; // a slow answer to an older question is dropped
const filters = new HistoryFilters(part("form"), () => load());

async function load(offset = 0) {
  const mine = ++round;
  const reply = (await server.list_conversations({ key: visitorKey(), offset, ...filters.value() })) ?? { error: "The server did not answer." };
  if (mine !== round) return;
  if (reply.error) {
    note.textContent = reply.error;
    return;
  }
  filters.offer(reply.members);
  const items = reply.conversations.map((conversation) => conversationItem(conversation, actions));
  if (offset) list.append(...items);
  else list.replaceChildren(...items);
  more.hidden = !reply.has_more;
  note.textContent = list.children.length ? "" : filters.isAny ? "Your runs will be listed here." : "No run matches.";
  showChosen();
}

const chosenIds = () => [...list.querySelectorAll(".gac-choose :checked")].map((box) => box.closest("[data-run]").dataset.run);

function showChosen() {
  const count = chosenIds().length;
  chosen.hidden = !count;
  chosen.textContent = `Delete ${plural(count, "chosen run")}`;
}

async function go(event, run) {
  await window.gac.clear();
  window.gac.expect();
  if (event === 'rerun') trigger('rerun', { key: visitorKey(), run: run.id });
  else trigger('open', { key: visitorKey(), run: run.id });
}

/** Do it, say how it went, and show what is left; `isAll`: more than the runs of these ids may be gone. */
async function change(call, done = "", ids = [], isAll = false) {
  const reply = (await call) ?? { error: "The server did not answer." };
  const isShown = ids.some((id) => window.gac.isShowing(id));
  if (!reply.error) for (const id of ids) window.gac.forgetTurn?.(id);
  if (!reply.error && ids.length) window.gac.forgetAnswers?.(isAll ? null : ids);
  await load();
  note.textContent = reply.error ?? (done || note.textContent);
  if (!reply.error && isShown) trigger('cleared');
}

async function removeRuns(ids, title, text) {
  if (ids.length && (await confirmed(dialog, title, text))) await change(server.delete_runs({ key: visitorKey(), runs: ids }), "Deleted.", ids);
}

const actions = {
  onOpen: (run) => go('open', run),
  onRerun: (run) => go('rerun', run),
  onChoose: showChosen,
  onDeleteRun: (run) => removeRuns([run.id], "Delete this run?",
    "Its prompt, answers and traces are gone for good. Later turns stay; they and their conversation go on without it. A branch, or the run again, is a run of its own."),
  async onDelete(conversation) {
    if (!(await confirmed(dialog, "Delete this conversation?", `${plural(conversation.num_runs, "turn")} and the conversation's name: ${GONE.toLowerCase()}`))) return;
    await change(server.delete_conversation({ key: visitorKey(), conversation: conversation.id }), "Deleted.", conversation.runs.map((run) => run.id), true);
  },
  onName: (conversation, name) => change(server.name_conversation({ key: visitorKey(), conversation: conversation.id, name })),
  async onStar(conversation) {
    const reply = await server.star_conversation({ key: visitorKey(), conversation: conversation.id, is_starred: conversation.is_starred });
    if (!reply || reply.error) note.textContent = reply?.error ?? "The server did not answer.";
  },
};

chosen.addEventListener("click", () => {
  const ids = chosenIds();
  removeRuns(ids, `Delete ${plural(ids.length, "run")}?`, GONE);
});
part("[data-act=delete-all]").addEventListener("click", async () => {
  if (!(await confirmed(dialog, "Delete all your data?", "Every run, trace, vote and name of this browser is gone for good."))) return;
  const reply = await server.delete_all({ key: visitorKey() });
  await load();
  note.textContent = reply?.error ?? "All your data is deleted.";
  if (reply?.error) return;
  window.gac.forgetAnswers?.(null);
  trigger('cleared');
});
more.addEventListener("click", () => load(list.children.length));
window.gac.refreshHistory = () => load();
load();
