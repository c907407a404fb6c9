// The board of the Compare tab, fed by its component's value once per animation frame, and what the page asks of it.

import { followAddress } from "./address.js";
import { Board } from "./board.js";
import { listenToEnter, listenToRun } from "./keyboard.js";
import { tell } from "../page/address.js";
import { oncePerFrame, visitorKey } from "../page/browser.js";
import { h, HAS_KEYS, shortName } from "../page/elements.js";
import { allNotices, onFacts } from "../settings/facts.js";
import { keepFocus, listenToSkips } from "../page/skip.js";
import { QUESTION } from "../settings/awaited.js";
import { settings } from "../settings/settings.js";

let tellStarted;
/** The board, once its part of the page is there. */
export const board = new Promise((resolve) => { tellStarted = resolve; });

export function start({ element, props, server, trigger, watch }) {
  const shown = new Board(element.querySelector(".gac-board"), server, trigger);
  const update = oncePerFrame(() => {
    shown.pulse.hear();
    shown.reader.feed(props.value ?? "");
    shown.flush();
  });
  watch("value", update);
  update();
  listenToEnter(shown);
  listenToRun(shown);
  listenToSkips();
  keepFocus();
  showNotices(element.querySelector(".gac-notices"));
  followAddress(shown);
  tellStarted(shown);
}

/** Below how the page is read: what the members' licences want said. */
function showNotices(list) {
  const draw = () => list.replaceChildren(...allNotices().map(([name, notice]) => h("p", {}, h("bdi", { text: shortName(name) }), `: ${notice}`)));
  onFacts(draw);
  draw();
}

export const stop = async () => (await board).stopOnClick();
export const refused = async () => (await board).settle(false);
export async function clear() {
  const shown = await board;
  shown.awaited.keep(null);
  await shown.clear();
  focusPrompt();
}

/** Another tab asks for a run, which is shown on this one. `asked`: what waits if the members turn out to be loading. */
export async function expectHere(asked = null) {
  const shown = await board;
  await shown.clear();
  shown.expect(asked);
  tell({ tab: "compare" });
}

/** The tab is chosen: another one may have painted in another view. */
export const show = async () => (await board).chosen.setView();

const focusPrompt = () => document.querySelector("#gac-prompt textarea")?.focus({ preventScroll: true });

/** Before a prompt's run: a blank one ends nothing, and the focus stays in the box. What the run is started with; the server
 * forgets a page that slept, so that the page says which conversation goes on. */
export async function beforeRun(_key, _place, prompt) {
  const shown = await board;
  if (String(prompt ?? "").trim()) {
    if (HAS_KEYS.matches) focusPrompt();
    await shown.clear();
    shown.expect(QUESTION);
  }
  return [visitorKey(), shown.run?.place ?? null, prompt, settings()];
}
