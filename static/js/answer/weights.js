// The members' weights at one step as a bar, and what moves them.

import { h } from "../page/elements.js";
import { probability } from "../page/numbers.js";
import { rich, t } from "../page/words.js";

export function weightsAt(step, memberIndex) {
  const words = step.members.map((member) => `${member.name} ${probability(member.weight)}`).join(", ");
  const bar = h("div", { class: "gac-weights", role: "img", "aria-label": words, title: words },
    ...step.members.map((member) => h("i", { "data-w": memberIndex(member.name), style: `width:${(member.weight * 100).toFixed(2)}%` })));
  const why = step.weights_follow && t(`weights.${step.weights_follow}`);
  return [h("h4", {}, h("span", {}, ...rich("weights.title"))), bar, why ? h("p", { class: "gac-small", text: why }) : null];
}
