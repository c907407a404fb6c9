// What is typed and not asked yet outlives a reload, a new connection and a crash of the tab.

const DRAFT = "gac.draft"; // of this tab alone
const box = () => document.querySelector("#gac-prompt textarea");

function keep(text) {
  try { sessionStorage.setItem(DRAFT, text); } catch { /* storage is forbidden: not remembered then */ }
}

/** It was asked. */
export const forgetDraft = () => keep("");

/** The page is there: its prompt, with a draft that was kept. What is typed from now on is kept too. */
export function draft() {
  document.addEventListener("input", ({ target }) => { if (target === box()) keep(target.value); });
  addEventListener("pagehide", () => { if (box()) keep(box().value); });
  const typed = box()?.value ?? "";
  try { return typed || (sessionStorage.getItem(DRAFT) ?? ""); } catch { return typed; }
}
