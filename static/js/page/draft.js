// What is typed and not asked yet outlives a reload, a new connection and a crash of the tab.

import { keepText, keptText, OF_TAB } from "./browser.js";

const DRAFT = "gac.draft";
const box = () => document.querySelector("#gac-prompt textarea");

const keep = (text) => keepText(DRAFT, text, OF_TAB);

/** It was asked. */
export const forgetDraft = () => keep("");

/** The page is there: its prompt, with a draft that was kept. What is typed from now on is kept too. */
export function draft() {
  document.addEventListener("input", ({ target }) => { if (target === box()) keep(target.value); });
  addEventListener("pagehide", () => { if (box()) keep(box().value); });
  return box()?.value || (keptText(DRAFT, OF_TAB) ?? "");
}
