// What stands above the answers: the prompt, its menu, where a branch comes from.

import { swapped } from "../answer/hints.js";
import { h } from "../page/elements.js";
import { openOthers } from "../settings/others.js";
import { settings } from "../settings/settings.js";
import { saidShort, t } from "../page/words.js";

/** `keep`: the menu. */
export function askedParts(run, keep) {
  return [
    h("h2", { dir: "auto", text: run.prompt, onclick: ({ target }) => target.classList.toggle("is-whole") }), // cut on a phone, until it is tapped
    keep,
  ];
}

/** Where it comes from, beside the status. */
export const originParts = (run, ask) => [
  run.is_own ? null : h("span", { text: t("asked.shared") }),
  run.branch_position !== null ? h("span", { class: "gac-of-branch", text: branchWords(run) }) : null,
  h("span", { class: "gac-ran-with", hidden: true }, h("span"),
    canCompare(run) ? h("button", { type: "button", class: "gac-icon", text: t("asked.compare"), onclick: () => ask("compare", { run: run.id, settings: settings() }) }) : null),
].filter(Boolean);

/** Whether the ensemble can be asked again with other settings; the beginning of a branch was given. */
export const canCompare = (run) => run.is_own && run.branch_position === null && run.members.length > 1 && run.streams.includes("ensemble");

/** Have other settings chosen, and the two answers side by side. `root`: of the board. */
export const compareSettings = (root, run, ask) =>
  openOthers(root.querySelector(".gac-others"), run, (chosen) => ask("compare", { run: run.id, settings: chosen }));

/** Where a branch left an earlier run, and the token that it swapped there. */
export function branchWords({ branch_position: position, swap }) {
  return swap ? t("asked.branched.swapped", { token: position + 1, ...swapped(swap) }) : t("asked.branched", { token: position + 1 });
}

/** A run made with other settings than those that stand under the prompt says which. */
export function tellSettings(root, run) {
  const line = root.querySelector(".gac-ran-with"), next = document.querySelector(".gac-summary-text")?.textContent ?? "";
  if (!line || !run) return;
  const own = saidShort(run.settings), parts = next.split(" · "), others = own.split(" · ").filter((part) => !parts.includes(part)).join(" · ");
  line.hidden = Boolean(run.beside) || next === own; // a pair's cards say it
  const told = t("asked.settings", { settings: others || own });
  if (line.firstChild.textContent !== told) line.firstChild.textContent = told;
}

/** A field in the prompt's place: Enter asks, Escape leaves it as it was. */
export function editPrompt(root, run, ask) {
  const title = root.querySelector("h2");
  const field = h("textarea", { class: "gac-edit", rows: "2", "aria-label": t("edit.prompt"), dir: "auto" });
  field.value = run.prompt;
  const end = () => {
    form.replaceWith(title);
    root.querySelector(".gac-keep summary").focus();
  };
  const send = () => {
    if (!field.value.trim()) return;
    end();
    ask("revise", { run: run.id, prompt: field.value });
  };
  const form = h("div", { class: "gac-edit-form" }, field,
    h("button", { type: "button", class: "gac-button", text: t("prompt.run"), onclick: send }),
    h("button", { type: "button", class: "gac-icon", text: t("cancel"), onclick: end }));
  field.addEventListener("keydown", (event) => {
    if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape") || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Enter") send();
    else end();
  });
  title.replaceWith(form);
  field.focus();
}
