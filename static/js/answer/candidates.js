// Bars of what could have come: the ensemble's with each member's share in it, a member's own likeliest tokens plain.
// A bar's length is the probability: the whole width is 100 % in every list, so that lists can be compared.

import { h } from "../page/elements.js";
import { probability } from "../page/numbers.js";
import { t } from "../page/words.js";

/** `onBranch(candidate)` or null where branching makes no sense. */
export function candidateBars(candidates, memberIndex, onBranch) {
  return h("ol", { class: "gac-bars" }, ...candidates.map((candidate) => candidateBar(candidate, memberIndex, onBranch)));
}

function candidateBar(candidate, memberIndex, onBranch) {
  const parts = candidate.parts?.length ? candidate.parts : [{ member: null, prob: candidate.prob }];
  const bar = h("span", { class: "gac-bar" }, ...parts.map((part) => h("i", {
    "data-w": part.member === null ? memberIndex() : memberIndex(part.member),
    style: `width:${(part.prob * 100).toFixed(2)}%`,
    title: part.member === null ? null : `${part.member}: ${probability(part.prob)}`,
  })));
  const name = candidate.is_end ? t("end") : candidate.label, label = h("bdi", { class: candidate.is_end ? "gac-label is-end" : "gac-label", text: name });
  const branch = onBranch && !candidate.is_chosen
    ? h("button", { type: "button", class: "gac-branch", text: t("branch"),
        "aria-label": t("branch.with", { token: name }), onclick: () => onBranch(candidate) })
    : null;
  const kind = candidate.is_chosen ? "is-chosen" : candidate.is_longer ? "is-longer" : null;
  return h("li", { class: kind, title: candidate.is_longer ? t("candidate.longer") : null },
    label, bar, h("span", { class: "gac-prob", text: probability(candidate.prob) }),
    h("span", { class: "gac-row-end" }, branch ?? (candidate.is_chosen ? h("span", { class: "gac-tick", text: t("candidate.chosen") }) : null)));
}
