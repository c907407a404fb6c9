// Compare's prompt, when the page is loaded and left; `Awaited` keeps what is typed.

import { keepText, keptText, OF_TAB } from "./browser.js";

const DRAFT = "gac.draft.compare";
const box = () => document.querySelector("#gac-prompt textarea");

/** The page is there: its prompt, with a draft that was kept. */
export function draft() {
  addEventListener("pagehide", () => { if (box()) keepText(DRAFT, box().value, OF_TAB); });
  return box()?.value || (keptText(DRAFT, OF_TAB) ?? "");
}
