// The choice of other settings for a run's prompt: those under the prompt, one's own presets, and the shipped ones.

import { h } from "../page/elements.js";
import { t } from "../page/words.js";
import { presets, settings } from "./settings.js";

/** `choose(settings)` is called with those that are chosen. */
export function openOthers(dialog, choose) {
  const offer = ({ name, about, changes }) => h("li", {}, h("button", { type: "button", class: "gac-run-open", onclick: () => { dialog.close(); choose(changes); } },
    h("b", { dir: "auto", text: name }), about ? h("span", { class: "gac-small", text: about }) : null));
  const below = { name: t("others.below"), about: document.querySelector(".gac-summary-text")?.textContent, changes: settings() };
  dialog.replaceChildren(
    h("header", {}, h("h2", { text: t("others.heading") }), h("button", { type: "button", class: "gac-button", text: t("close"), onclick: () => dialog.close() })),
    h("p", { class: "gac-small", text: t("others.about") }),
    h("ul", { class: "gac-runs" }, ...[below, ...presets()].map(offer)));
  dialog.showModal();
}
