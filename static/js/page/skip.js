// The keyboard's way through the page: links from its beginning to the prompt or what a tab shows, and from the prompt to
// the answers. Where the focused element goes away, the focus moves to what took its place.

import { HAS_KEYS } from "./elements.js";

const LOOK_MS = 100;
const LANDINGS = "[role=status]:not(:empty), h2"; // where the same control is not found

const toAnswers = () => document.querySelector(".gac-ensemble .gac-text");
const toContent = () => [document.querySelector("#gac-prompt textarea"), ...document.querySelectorAll("#gac-tabs > [role=tabpanel]")].find((part) => part?.checkVisibility());

export function listenToSkips() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.(".gac-skip");
    if (!link) return;
    event.preventDefault();
    const part = link.classList.contains("gac-to-answers") ? toAnswers() : toContent();
    if (part) focusOn(part);
  });
}

function focusOn(part, options) {
  if (part.tabIndex < 0) part.tabIndex = -1; // a heading or a panel takes the focus, and is no stop of the Tab key
  part.focus(options);
}

/** Move the focus where its element was drawn anew, hidden or disabled. Only for a focus that the browser shows, so after a key
 * and not after a click or a tap; never away from another element. */
export function keepFocus() {
  let held = []; // what had the focus last, and its ancestors: {part, at: its index in its parent}
  const hold = ({ target }) => {
    held = [];
    if (!target.matches(":focus-visible")) return;
    for (let part = target; part.parentElement; part = part.parentElement) held.push({ part, at: [...part.parentElement.children].indexOf(part) });
  };
  document.addEventListener("keydown", (event) => { // not before: the page itself puts the focus into the prompt
    hold(event);
    document.addEventListener("focusin", hold);
  }, { once: true, capture: true });
  setInterval(() => {
    if (!held.length || document.activeElement !== document.body) return;
    if (isUsable(held[0].part)) held = []; // it was left
    else standIn(held);
  }, LOOK_MS);
}

const isUsable = (part) => part.checkVisibility({ visibilityProperty: true }) && !part.matches(":disabled");
const wordsOf = (part) => part.ariaLabel ?? part.textContent;

/** Focus, in the nearest ancestor that has it: the same control or what opens its menu; else a group's first button, a
 * message or a heading. In a list only the row at the same index counts. */
function standIn([{ part: lost, at }, ...around]) {
  const words = wordsOf(lost);
  const inReach = (part) => [part, ...(part.closest("details, [role=group]")?.querySelectorAll("summary, button") ?? [])].find(isUsable);
  for (const { part, at: next } of around) {
    const row = part.matches("ol, ul") && part.children[Math.min(at, part.children.length - 1)], within = row || part;
    const same = [...within.querySelectorAll(lost.localName)].filter((one) => wordsOf(one) === words).map(inReach);
    const others = within.querySelectorAll(row || part.role === "group" ? `button, ${LANDINGS}` : LANDINGS);
    const found = isUsable(part) && [...same, ...others].find((one) => one && isUsable(one));
    if (found) return focusOn(found, { preventScroll: !HAS_KEYS.matches });
    at = next;
  }
}
