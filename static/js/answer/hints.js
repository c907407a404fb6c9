// What is said of a token in short.

import { shortName } from "../page/elements.js";
import { probability } from "../page/numbers.js";
import { t } from "../page/words.js";

/** Of a branch: the token that was there, and the one that took its place. */
export const swapped = ([before, now]) => ({ before: t("quoted", { text: before }), now: t("quoted", { text: now }) });

/** Of a token that the others changed: what the gate alone would have written, and what was. */
export const changed = ([before, now], gate) => t("tip.changed", { gate: shortName(gate), ...swapped([before || t("end"), now || t("end")]) });

/** What a token's tip says: what the others changed; else how likely it was, and who carried it. */
export function hintOf(stream, index, run, numParts) {
  const token = stream.tokens[index], isEnsemble = stream.member < 0;
  const part = numParts > 1 ? ` · ${t("tip.parts", { count: numParts })}` : "";
  if (token.isForced) return run.swap && index === run.branch_position ? t("tip.swapped", swapped(run.swap)) : t("tip.repeated");
  if (token.change) return changed(token.change, run.gate) + part;
  const words = [`${token.isEnd ? t("tip.end") : t("token", { token: index + 1 })}: ${t("tip.probability", { prob: probability(token.prob) })}`];
  if (token.isDrawn) return [...words, t("tip.drawn", { name: shortName(run.members[token.winner]) })].join(" · ") + part;
  if (isEnsemble && token.isGated) words.push(run.mode === "gate" ? t("tip.unsure", { sure: probability(token.confidence) }) : t("tip.combined"));
  if (isEnsemble && token.winner >= 0) words.push(t(token.isGated ? "tip.carried" : "tip.alone", { name: shortName(run.members[token.winner]) }));
  return words.join(" · ") + part;
}
