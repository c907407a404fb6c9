// The choice of other settings for a run's prompt: those under the prompt, one's own presets, and the shipped ones.

import { h } from "../page/elements.js";
import { saidShort, t } from "../page/words.js";
import { presets, settings } from "./settings.js";

/** `run`: has other settings than those that are offered; `choose(settings)` is called with the chosen ones. */
export function openOthers(dialog, run, choose) {
  const offer = ({ name, about, changes }) => h("li", {}, h("button", { type: "button", class: "gac-run-open", onclick: () => { dialog.close(); choose(changes); } },
    h("b", { dir: "auto", text: name }), about ? h("span", { class: "gac-small", text: about }) : null));
  const below = { name: t("others.below"), about: document.querySelector(".gac-summary-text")?.textContent, changes: settings() };
  const isBelow = ({ changes }) => JSON.stringify(changes) === JSON.stringify(below.changes), offered = presets().filter((preset) => !isBelow(preset));
  if (below.about !== saidShort(run.settings)) offered.unshift(below);
  dialog.replaceChildren(
    h("header", {}, h("h2", { text: t("others") }), h("button", { type: "button", class: "gac-button", text: t("close"), onclick: () => dialog.close() })),
    h("p", { class: "gac-small", text: t("others.about") }),
    h("ul", { class: "gac-runs" }, ...offered.map(offer)));
  dialog.showModal();
}
