// How the members read a token that their own tokens cut otherwise, in words.
// gac_app/ui/compare/covering.py describes each kind of cover.

import { h } from "../page/elements.js";
import { rich, t } from "../page/words.js";

const pieces = (labels) => labels.map((label) => h("bdi", { class: "gac-piece", text: label }));

/** A line for one member; null where it reads the token as it is. */
export function coverLine(cover, position) {
  if (!cover) return null;
  const labels = cover.pieces && pieces(cover.pieces);
  const line = (key) => h("p", { class: "gac-small gac-cover" }, ...rich(`cover.${key}`, { labels, first: cover.since + 1, last: position + 1, until: cover.until + 1 }));
  if (cover.kind === "spelled") return line("spelled");
  if (cover.kind === "together") return line(cover.since === position ? "again" : "together");
  if (!cover.pieces) return line("inside");
  return line(cover.pieces.length > 1 ? "later" : "until");
}

/** Why a token is marked as partial, or has no text of its own. `end`: of the answer, if it is over. */
export function opennessNote(step, token, end) {
  const notes = [];
  if (step.character) notes.push(h("span", {}, ...rich("token.part", { character: h("bdi", { class: "gac-piece", text: step.character }) }), " "));
  else if (!step.is_end && token?.text === "" && end?.reason === "stop") notes.push(h("span", { text: `${t("token.stop-string")} ` }));
  if (step.is_partial) notes.push(h("span", {}, ...rich("token.partial")));
  return notes.length ? h("p", { class: "gac-small gac-partial-note" }, ...notes) : null;
}
