// The views, which say what marks mean.

import { h } from "../page/elements.js";
import { t } from "../page/words.js";

export const VIEWS = ["gate", "winner", "confidence", "plain", "rendered"];

/** Radio buttons to choose one. */
export const viewChoices = (name, views, onChoose) => views.map((id) => h("label", { title: t(`view.${id}.title`) },
  h("input", { type: "radio", name, value: id, onchange: () => onChoose(id) }), h("span", { text: t(`view.${id}`) })));

/** The view that a run opens in. */
export const viewOf = (run) => (run.mode === "every-step" ? "winner" : "gate");
