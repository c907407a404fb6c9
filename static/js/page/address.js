// The address says what the page shows: the tab, the run and, on their tabs, the study and the contestant. So a reload
// and a link find it again, and each run and tab is an entry of the browser's history, for Back and Forward.

import { onLoaded } from "./loaded.js";

const FIRST_TAB = "compare";
const TAB_OF = { study: "lab", contestant: "leaderboard" }; // where else they are not named; a run is on every tab
const NAMES = ["run", "tab", ...Object.keys(TAB_OF)];
const WITHIN = { contests: ["arena", "leaderboard"], experiments: ["batch", "lab"] }; // tabs within others, the last one chosen first
const TABS = (globalThis.gradio_config?.components ?? []).filter(({ type }) => type === "tabitem").map(({ props }) => props.id).filter((id) => !(id in WITHIN));
const groupOf = (tab) => Object.keys(WITHIN).find((group) => WITHIN[group].includes(tab));

const followers = new Map();
const shown = named();
let isHeld = false, hasMoved = false, isComing = shown.tab !== FIRST_TAB; // the tab that the address names, at first

function named() {
  const { searchParams } = new URL(location.href), found = Object.fromEntries(NAMES.map((name) => [name, searchParams.get(name) ?? ""]));
  return { ...found, tab: TABS.includes(found.tab) ? found.tab : FIRST_TAB };
}

/** What the address names, or "". */
export const addressed = (name) => shown[name];

/** An address that names this and nothing else. */
export function addressOf(values) {
  const address = new URL(location.pathname, location.href);
  for (const [name, value] of Object.entries(values)) address.searchParams.set(name, value);
  return String(address);
}

/** The page shows something else: a new entry of the history, or else the last one is corrected. */
export function tell(changes, isNew = true) {
  Object.assign(shown, changes);
  if (isHeld) return;
  const address = new URL(location.href), { searchParams } = address;
  for (const name of NAMES) {
    const isNamed = shown[name] && shown[name] !== FIRST_TAB && [undefined, shown.tab].includes(TAB_OF[name]);
    if (isNamed) searchParams.set(name, shown[name]);
    else searchParams.delete(name);
  }
  if (address.href === location.href) return;
  if (isNew) history.pushState(null, "", address);
  else history.replaceState(history.state, "", address);
}

/** Something was asked for that may change several things, of which one entry is to tell: none until `release`. */
export function hold() {
  if (!isHeld) hasMoved = false;
  isHeld = true;
}

/** It came, or was refused. False if the visitor has gone back or forward meanwhile: then the address stands. */
export function release(changes, isNew = true) {
  const isStale = isHeld && hasMoved;
  isHeld = hasMoved = false;
  if (!isStale) tell(changes, isNew);
  return !isStale;
}

/** `show(value)` is called when Back or Forward names another one. */
export const follow = (name, show) => followers.set(name, show);

addEventListener("popstate", () => {
  const before = { ...shown };
  Object.assign(shown, named());
  hasMoved = isHeld;
  for (const [name, show] of followers) if (shown[name] !== before[name]) show(shown[name]);
});

let move = () => {};

export function start({ trigger }) {
  move = () => trigger("moved");
  follow("tab", move);
  onLoaded(() => {
    if (shown.tab !== FIRST_TAB) move();
    else tell({}, false); // a tab that is not there
  });
}

/** For Gradio: the tab to choose, and in each of the `groups`. */
export function addressedTab(...groups) {
  const group = groupOf(shown.tab), chosen = (selected) => ({ selected, __type__: "update" });
  return [chosen(group ?? shown.tab), ...groups.map((name) => (name === group ? chosen(shown.tab) : { __type__: "update" }))];
}

/** Called by Gradio when a tab is chosen; it chooses the first ones before the page is there. */
export function tellTab(tab) {
  if (isComing && tab !== shown.tab && tab !== groupOf(shown.tab)) return;
  isComing = false;
  const group = groupOf(tab);
  if (group) WITHIN[group].sort((one, other) => (other === tab) - (one === tab));
  tell({ tab: WITHIN[tab]?.[0] ?? tab });
}

/** Show a tab. */
export function goTo(tab) {
  tell({ tab });
  move();
}
