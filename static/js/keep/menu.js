// The menu of what can be kept of a run: its text, a page, a link.

import { canCompare, compareSettings, editPrompt } from "../compare/asked.js";
import { markdownOf, pageOf } from "./export.js";
import { addressOf } from "../page/address.js";
import { answerTo, copy, copyBy, download } from "../page/browser.js";
import { h, menu, shut } from "../page/elements.js";
import { said, t } from "../page/words.js";

export function keepMenu(board) {
  const { run } = board, note = h("p", { class: "gac-small gac-keep-note", role: "status" });
  const item = (text, act) => h("button", { type: "button", class: "gac-icon", text, onclick: async () => {
    try {
      note.replaceChildren((await act()) ?? "");
    } catch (error) {
      note.textContent = error?.message || t("keep.refused");
    }
  } });
  const isLinked = run.is_own && board.root.dataset.sharing === "on";
  const other = (text, act) => h("button", { type: "button", class: "gac-icon", text, onclick: () => { shut(kept); act(); } });
  const ask = (event, fields) => board.ask(event, fields);
  const others = [run.is_own ? other(t("edit.prompt"), () => editPrompt(board.part("asked"), run, ask)) : null,
    run.is_own ? other(t("run-again"), () => ask("rerun", { run: run.id })) : null,
    canCompare(run) ? other(t("others"), () => compareSettings(board.root, run, ask)) : null];
  const scope = new Scope(board);
  const kept = menu({ text: t("more") }, ...others, scope.root,
    item(t("keep.markdown"), async () => { await copy(markdownOf(board, await scope.turns())); return t("copied"); }),
    item(t("keep.html"), async () => {
      download(new Blob([pageOf(board, await scope.turns())], { type: "text/html" }), `${fileName(run)}.html`);
      return t("keep.saved");
    }),
    isLinked ? item(t("keep.share"), async () => {
      if (board.isLive) note.textContent = t("keep.waits");
      await board.over;
      return share(board, run, scope.isAll);
    }) : null, note);
  kept.addEventListener("toggle", () => { if (kept.open && run.is_shared) note.replaceChildren(linkNote(board, run)); });
  return kept;
}

/** Of what is kept: this turn, or all turns up to it, where there are earlier ones. */
class Scope {
  constructor(board) {
    this.board = board;
    const { has_turns: hasTurns, shares_turns: isAll } = board.run;
    const choice = (id) => h("label", {}, h("input", { type: "radio", name: "gac-scope", value: id, checked: (id === "all") === Boolean(isAll) }), h("span", { text: t(`keep.scope.${id}`) }));
    this.root = hasTurns ? h("div", { class: "gac-segments", role: "radiogroup", "aria-label": t("keep.scope") }, choice("one"), choice("all")) : null;
  }

  get isAll() {
    return this.root?.querySelector(":checked").value === "all";
  }

  /** The turns before the run that are kept with it, once all tokens of the run are there. */
  async turns() {
    await this.board.rest.loaded;
    if (!this.isAll) return [];
    const reply = await answerTo(this.board.server.read_turns(this.board.request({})));
    if (reply.error) throw new Error(said(reply.error));
    return reply.turns;
  }
}

async function share(board, run, isAll) { // another may be shown when the reply comes
  const reply = await answerTo(board.server.share_run(board.request({ run: run.id, is_shared: true, with_turns: isAll })));
  if (reply.error) return said(reply.error);
  Object.assign(run, { is_shared: true, shares_turns: isAll });
  return linkNote(board, run);
}

function linkNote(board, run) {
  const link = h("input", { type: "text", class: "gac-link", readonly: true, "aria-label": t("keep.link"), onfocus: () => link.select() });
  link.value = addressOf({ run: run.id });
  const copy = h("button", { type: "button", class: "gac-icon", text: t("copy"), onclick: () => copyBy(copy, link.value, t("copy")) });
  const stop = h("button", { type: "button", class: "gac-icon gac-danger", text: t("keep.stop-sharing"), onclick: async () => {
    const reply = await answerTo(board.server.share_run(board.request({ run: run.id, is_shared: false, with_turns: false })));
    run.is_shared = Boolean(reply.error);
    note.replaceChildren(said(reply.error) || t("keep.not-shared"));
  } });
  const note = h("span", { class: "gac-shared" }, t(run.shares_turns ? "keep.who-reads.all" : "keep.who-reads.one"), link, h("span", {}, copy, stop));
  return note;
}

const fileName = (run) => `gac-${run.prompt.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40).replace(/^-|-$/gu, "") || "run"}`;
