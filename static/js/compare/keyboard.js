// Keys that work anywhere on the Compare tab, except while somebody types, and ? on all; and Enter in the prompt.

import { STOP_TIMEOUT_MS } from "./status.js";
import { goTo } from "../page/address.js";
import { leaveField } from "../page/elements.js";
import { QUESTION, UNMEANT_MS } from "../settings/awaited.js";

const AGAIN_MS = 60, MAX_AGAIN = 50;

export function listenToKeys(element, { onChange, onClose, onVote }) {
  document.addEventListener("keydown", (event) => {
    if (!element.isConnected || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "?" && !event.target.closest?.("input, textarea, select, [contenteditable], dialog")) goTo("about");
    if (!element.offsetParent) return;
    if (event.key === "Escape" && onClose()) {
      event.preventDefault();
      return;
    }
    if (event.target.matches?.("#gac-prompt textarea")) leaveField(event);
    if (event.target.closest?.("input:not([type=radio]), textarea, select, [contenteditable], dialog")) return;
    const isDone = event.key.toLowerCase() === "n" ? onChange(event.shiftKey ? -1 : 1) : !event.repeat && onVote(event.key);
    if (isDone) event.preventDefault();
  });
}

/** A second click on Run asks for nothing: right after the first, and while what that asked for has not come. While members
 * load, a click waits for them. */
export function listenToRun(board) {
  let clickedAt = -Infinity, asked = ""; // the board hears of a click some time later
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#gac-prompt .submit-button")) return;
    if (board.awaited.hold()) return refuse(event);
    if (!event.isTrusted) return;
    const now = performance.now(), { value } = document.querySelector("#gac-prompt textarea");
    const isSecond = (now - clickedAt < UNMEANT_MS && value === asked) || (board.isBusy && now - board.askedAt < STOP_TIMEOUT_MS);
    [clickedAt, asked] = [now, value];
    if (isSecond) refuse(event);
  }, { capture: true });
}

/** Gradio is not to hear of it. */
function refuse(event) {
  event.preventDefault();
  event.stopPropagation();
}

/** Enter asks, and ends a run that goes on. Gradio ignores Enter with Ctrl or Cmd, and while its event of a stopped run is
 * pending: the button is clicked until it takes it.
 */
export function listenToEnter(board) {
  document.addEventListener("keydown", async (event) => {
    if (!board.root.isConnected || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    if (!event.target.matches?.("#gac-prompt textarea") || !event.target.value.trim() || board.isBusy) return;
    if (board.awaited.hold()) return refuse(event);
    refuse(event);
    await board.clear();
    board.expect(QUESTION);
    for (let tries = 0; board.isBusy && tries < MAX_AGAIN; tries += 1) {
      document.querySelector("#gac-prompt .submit-button")?.click();
      await new Promise((wake) => setTimeout(wake, AGAIN_MS));
    }
  }, { capture: true });
}
