// The views, which say what marks mean.

import { h } from "../page/elements.js";
import { t } from "../page/words.js";

export const VIEWS = ["changes", "confidence"];

/** Radio buttons to choose one. */
export const viewChoices = (name, views, onChoose) => views.map((id) => h("label", {},
  h("input", { type: "radio", name, value: id, onchange: () => onChoose(id) }), h("span", { text: t(`view.${id}`) })));
