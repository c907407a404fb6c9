// The address names the run that the board shows, so that loading the page again shows it again, live or not.

import { visitorKey } from "../page/browser.js";
import { onLoaded } from "../page/loaded.js";

export const RUN_PARAM = "run";

export function showInAddress(runId) {
  const address = new URL(location.href);
  if ((address.searchParams.get(RUN_PARAM) ?? undefined) === runId) return;
  if (runId) address.searchParams.set(RUN_PARAM, runId);
  else address.searchParams.delete(RUN_PARAM);
  history.replaceState(history.state, "", address);
}

/** The board shows another run, or none: the address says so, and the server hears of a live one. */
export function tellShown(board) {
  showInAddress(board.run?.id);
  // A run that no page says to show ends when this page goes; one that was shown waits for it to come back.
  if (board.run?.is_live) board.server.seen_run(board.request({}));
}

/** What the address names, when the page is loaded. */
export function openFromAddress(board) {
  const run = new URL(location.href).searchParams.get(RUN_PARAM);
  if (!run) return;
  board.expect();
  onLoaded(() => { if (!board.run) board.trigger("open", { key: visitorKey(), run }); });
}
