// The menu of what can be kept of a run: its text, a page, a picture, a link.

import { canCompare, compareSettings, editPrompt } from "../compare/asked.js";
import { openDiff } from "./diff.js";
import { markdownOf, pageOf, pictureOf } from "./export.js";
import { addressOf } from "../page/address.js";
import { answerTo, copyBy, download } from "../page/browser.js";
import { closeOnLeaving, h } from "../page/elements.js";
import { said, t } from "../page/words.js";

export function keepMenu(board) {
  const { run } = board, note = h("p", { class: "gac-small gac-keep-note", role: "status" });
  const item = (text, act) => h("button", { type: "button", class: "gac-icon", text, onclick: async () => {
    try {
      note.replaceChildren((await act()) ?? "");
    } catch (error) {
      note.textContent = t("keep.failed", { why: error?.message || t("keep.refused") });
    }
  } });
  const isLinked = run.is_own && board.root.dataset.sharing === "on";
  // What stands beside the menu where there is room.
  const other = (text, act) => h("button", { type: "button", class: "gac-icon gac-narrow", text, onclick: (event) => { menu.open = false; act(event); } });
  const ask = (event, fields) => board.ask(event, fields);
  const narrow = [run.is_own ? other(t("run-again"), () => ask("rerun", { run: run.id })) : null,
    canCompare(run) ? other(t("others"), () => compareSettings(board.root, run, ask)) : null,
    run.is_own ? other(t("edit.prompt"), (event) => editPrompt(event.target, run, ask)) : null, other(t("diff.compare"), () => openDiff(board))];
  const menu = h("details", { class: "gac-keep" },
    h("summary", { class: "gac-icon", text: t("more") }),
    h("div", { class: "gac-keep-items" },
      ...narrow,
      item(t("keep.markdown"), async () => { await navigator.clipboard.writeText(markdownOf(board)); return t("keep.copied"); }),
      item(t("keep.html"), async () => { await board.rest.loaded; download(new Blob([pageOf(board)], { type: "text/html" }), `${fileName(run)}.html`); return t("keep.saved"); }),
      item(t("keep.png"), async () => { await board.rest.loaded; download(await pictureOf(board), `${fileName(run)}.png`); return t("keep.saved"); }),
      isLinked ? item(t("keep.share"), () => share(board)) : null,
      note));
  closeOnLeaving(menu);
  menu.addEventListener("toggle", () => { if (menu.open && run.is_shared) note.replaceChildren(linkNote(board)); });
  return menu;
}

async function share(board) {
  const reply = await answerTo(board.server.share_run(board.request({ is_shared: true })));
  if (reply.error) return said(reply.error);
  board.run.is_shared = true;
  return linkNote(board);
}

function linkNote(board) {
  const link = h("input", { type: "text", class: "gac-link", readonly: true, "aria-label": t("keep.link"), onfocus: () => link.select() });
  link.value = addressOf({ run: board.run.id });
  const copy = h("button", { type: "button", class: "gac-icon", text: t("keep.copy-link"), onclick: () => copyBy(copy, link.value, t("keep.copy-link")) });
  const stop = h("button", { type: "button", class: "gac-icon gac-danger", text: t("keep.stop-sharing"), onclick: async () => {
    const reply = await answerTo(board.server.share_run(board.request({ is_shared: false })));
    board.run.is_shared = Boolean(reply.error);
    note.replaceChildren(said(reply.error) || t("keep.not-shared"));
  } });
  const note = h("span", { class: "gac-shared" }, t("keep.who-reads"), link, h("span", {}, copy, stop));
  return note;
}

const fileName = (run) => `gac-${run.prompt.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40).replace(/^-|-$/gu, "") || t("keep.file")}`;
