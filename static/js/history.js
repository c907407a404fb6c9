// The visitor's own conversations: search, filter, name, star, reopen, run again, delete one, many or all.

const part = (selector) => element.querySelector(selector);
const list = part(".gac-conversations"), note = part(".gac-history-note");
const more = part("[data-act=more]"), chosen = part("[data-act=delete-chosen]"), dialog = part(".gac-dialog");
let round = 0; // a slow answer to an older question is dropped
const filters = new HistoryFilters(part("form"), () => load());

async function load(offset = 0) {
  const mine = ++round;
  const reply = await answerTo(server.list_conversations({ key: visitorKey(), offset, ...filters.value() }));
  if (mine !== round) return;
  if (reply.error) {
    note.textContent = said(reply.error);
    return;
  }
  filters.offer(reply.members);
  const items = reply.conversations.map((conversation) => conversationItem(conversation, actions));
  if (offset) list.append(...items);
  else list.replaceChildren(...items);
  more.hidden = !reply.has_more;
  note.textContent = list.children.length ? "" : t(filters.isAny ? "history.no-match" : "history.empty");
  showChosen();
}

const chosenIds = () => [...list.querySelectorAll(".gac-choose :checked")].map((box) => box.closest("[data-run]").dataset.run);

function showChosen() {
  const count = chosenIds().length;
  chosen.hidden = !count;
  chosen.textContent = t("history.delete-chosen", { n: count });
}

async function go(event, run) {
  await window.gac.clear();
  window.gac.expect();
  if (event === 'rerun') trigger('rerun', { key: visitorKey(), run: run.id });
  else trigger('open', { key: visitorKey(), run: run.id });
}

/** Do it, say how it went, and show what is left; `isAll`: more than the runs of these ids may be gone. */
async function change(call, done = "", ids = [], isAll = false) {
  const reply = await answerTo(call);
  const isShown = ids.some((id) => window.gac.isShowing(id));
  if (!reply.error) for (const id of ids) window.gac.forgetTurn?.(id);
  if (!reply.error && ids.length) window.gac.forgetAnswers?.(isAll ? null : ids);
  await load();
  note.textContent = said(reply.error) || done || note.textContent;
  if (!reply.error && isShown) trigger('cleared');
}

async function removeRuns(ids, title, text) {
  if (ids.length && (await confirmed(dialog, title, text))) await change(server.delete_runs({ key: visitorKey(), runs: ids }), t("history.deleted"), ids);
}

const actions = {
  onOpen: (run) => go('open', run),
  onRerun: (run) => go('rerun', run),
  onChoose: showChosen,
  onDeleteRun: (run) => removeRuns([run.id], t("history.delete-run.title"), t("history.delete-run")),
  async onDelete(conversation) {
    if (!(await confirmed(dialog, t("history.delete-conversation.title"), t("history.delete-conversation", { n: conversation.num_runs })))) return;
    await change(server.delete_conversation({ key: visitorKey(), conversation: conversation.id }), t("history.deleted"), conversation.runs.map((run) => run.id), true);
  },
  onName: (conversation, name) => change(server.name_conversation({ key: visitorKey(), conversation: conversation.id, name })),
  async onStar(conversation) {
    const reply = await answerTo(server.star_conversation({ key: visitorKey(), conversation: conversation.id, is_starred: conversation.is_starred }));
    if (reply.error) note.textContent = said(reply.error);
  },
};

chosen.addEventListener("click", () => {
  const ids = chosenIds();
  removeRuns(ids, t("history.delete-runs.title", { n: ids.length }), t("history.delete-runs"));
});
part("[data-act=delete-all]").addEventListener("click", async () => {
  if (!(await confirmed(dialog, t("history.delete-all.title"), t("history.delete-all")))) return;
  const reply = await answerTo(server.delete_all({ key: visitorKey() }));
  await load();
  note.textContent = said(reply.error) || t("history.all-deleted");
  if (reply.error) return;
  window.gac.forgetAnswers?.(null);
  window.gac.clearArena?.();
  trigger('cleared');
});
more.addEventListener("click", () => load(list.children.length));
window.gac.refreshHistory = () => load();
load();
