// The visitor's own conversations: search, filter, name, star, reopen, run again, delete one, many or all.

import { clearArena } from "../arena/arena.js";
import { board, expectHere } from "../compare/compare.js";
import { forgetTurn } from "../compare/turns.js";
import { confirmed } from "./dialog.js";
import { HistoryFilters } from "./filters.js";
import { conversationItem } from "./rows.js";
import { asking, visitorKey } from "../page/browser.js";
import { said, t } from "../page/words.js";

let list = null;

export function start(part) {
  list = new History(part);
  list.load();
}

/** The tab is chosen. */
export const refreshHistory = () => list?.load();

class History {
  constructor({ element, server, trigger }) {
    this.part = (selector) => element.querySelector(selector);
    Object.assign(this, { ask: asking(server), trigger, round: 0 }); // round: a slow answer to an older question is dropped
    this.list = this.part(".gac-conversations");
    this.note = this.part(".gac-history-note");
    this.more = this.part("[data-act=more]");
    this.chosen = this.part("[data-act=delete-chosen]");
    this.filters = new HistoryFilters(this.part("form"), () => this.load());
    this.chosen.addEventListener("click", () => {
      const ids = this.chosenIds();
      this.removeRuns(ids, t("history.delete-runs.title", { n: ids.length }), t("history.delete-run"));
    });
    this.part("[data-act=delete-all]").addEventListener("click", () => this.removeAll());
    this.more.addEventListener("click", () => this.load(this.list.children.length));
  }

  confirm(title, text) {
    return confirmed(this.part(".gac-dialog"), title, text);
  }

  async load(offset = 0) {
    const mine = ++this.round;
    const reply = await this.ask("list_conversations", { offset, ...this.filters.value() });
    if (mine !== this.round) return;
    if (reply.error) {
      this.note.textContent = said(reply.error);
      return;
    }
    this.filters.offer(reply.members);
    this.show(reply.conversations.map((conversation) => JSON.stringify(conversation)), offset);
    this.more.hidden = !reply.has_more;
    const isEmpty = !this.list.children.length && t(this.filters.isAny ? "history.no-match" : "history.empty");
    this.note.textContent = [isEmpty, reply.forgets && t("history.forgets")].filter(Boolean).join(" ");
    this.onChoose();
  }

  /** Rows that are as they were stay, and with them a menu that is open and a name being typed; ticks stay anyway. */
  show(told, offset) {
    const chosen = new Set(this.chosenIds()), known = new Map([...this.list.children].map((row) => [row.told, row]));
    const rows = told.map((one) => known.get(one) ?? Object.assign(conversationItem(JSON.parse(one), this), { told: one }));
    for (const row of [...this.list.children].slice(offset)) if (!rows.includes(row)) row.remove();
    rows.forEach((row, at) => {
      const there = this.list.children[offset + at] ?? null;
      if (row !== there) this.list.insertBefore(row, there);
    });
    for (const row of this.list.querySelectorAll("[data-run]")) row.querySelector("input").checked ||= chosen.has(row.dataset.run);
  }

  chosenIds() {
    return [...this.list.querySelectorAll(".gac-choose :checked")].map((box) => box.closest("[data-run]").dataset.run);
  }

  async go(event, run, asked = null) {
    await expectHere(asked);
    this.trigger(event, { key: visitorKey(), run: run.id });
  }

  // ---- what a conversation's row does

  onOpen(run) {
    return this.go("open", run);
  }

  /** While members load it waits on Compare; the button once more calls it off. */
  async onRerun(run) {
    const { awaited } = await board, asked = { name: JSON.stringify(["rerun", { run: run.id }]), ask: () => this.go("rerun", run, asked) };
    if (awaited.other?.name === asked.name) awaited.keep(null);
    else await this.go("rerun", run, asked);
  }

  onChoose() {
    const count = this.chosenIds().length;
    this.chosen.hidden = !count;
    this.chosen.textContent = t("history.delete-chosen", { count });
  }

  onDeleteRun(run) {
    return this.removeRuns([run.id], t("history.delete-runs.title", { n: 1 }), t("history.delete-run"));
  }

  async onDelete({ id }) {
    if (!(await this.confirm(t("history.delete-conversation.title"), t("history.delete-for-good")))) return;
    await this.change("delete_conversation", { conversation: id }, t("history.deleted"));
  }

  onName(conversation, name) {
    return this.change("name_conversation", { conversation: conversation.id, name });
  }

  async onStar(conversation) {
    const reply = await this.ask("star_conversation", { conversation: conversation.id, is_starred: conversation.is_starred });
    if (reply.error) this.note.textContent = said(reply.error);
    return reply;
  }

  // ---- what is deleted

  /** Do it, say how it went, and show what is left; `runs`: the ids of those that are deleted by it. */
  async change(name, fields, done = "", runs = []) {
    const reply = await this.ask(name, fields), shown = await board, deleted = reply.error ? [] : reply.runs ?? runs;
    const isShown = deleted.includes(shown.run?.id);
    for (const id of deleted) forgetTurn(id);
    await this.load();
    this.note.textContent = said(reply.error) || done || this.note.textContent;
    if (isShown) this.trigger("cleared");
  }

  async removeRuns(ids, title, text) {
    if (ids.length && (await this.confirm(title, text))) await this.change("delete_runs", { runs: ids }, t("history.deleted"), ids);
  }

  async removeAll() {
    if (!(await this.confirm(t("history.delete-all.title"), t("history.delete-for-good")))) return;
    const reply = await this.ask("delete_all");
    await this.load();
    this.note.textContent = said(reply.error) || t("history.deleted");
    clearArena();
    this.trigger("cleared");
  }
}
