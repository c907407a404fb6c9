// The run on the board stands in the address, so that a reload, Back and Forward show it again, live or not.

import { addressed, follow, release } from "../page/address.js";
import { visitorKey } from "../page/browser.js";
import { onLoaded } from "../page/loaded.js";

/** The board shows another run, or none: the address says so, and the server hears of a live one. */
export function tellShown(board) {
  // A run that no page says to show ends when this page goes; one that was shown waits for it to come back.
  if (board.run?.is_live) board.server.seen_run(board.request({}));
  if (!release({ run: board.run?.id ?? "" })) openAddressed(board);
}

/** What was asked for was refused: where nothing is shown a reload, or the server's return, asks for it again. */
export function tellRefused(board) {
  if (!release({ run: board.run?.id ?? addressed("run") }, false)) openAddressed(board);
}

/** What the address names, when the page is loaded and whenever the visitor goes back or forward. */
export function followAddress(board) {
  follow("run", () => openAddressed(board));
  if (!addressed("run")) return;
  board.expect();
  onLoaded(() => { if (!board.run) board.trigger("open", { key: visitorKey(), run: addressed("run") }); });
}

async function openAddressed(board) {
  if (board.isBusy) return; // what comes finds that the address has changed
  await board.clear();
  const run = addressed("run");
  if (board.isBusy || run === (board.run?.id ?? "")) return;
  board.expect();
  board.trigger(run ? "open" : "cleared", { key: visitorKey(), run });
}
