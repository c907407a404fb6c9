// How the members read a token that their own tokens cut otherwise, in words.
// gac_app/ui/covering.py describes each kind of cover.

const pieces = (labels) => labels.map((label) => h("bdi", { class: "gac-piece", text: label }));

function tokensFrom(first, last) {
  return first === last ? `token ${first + 1}` : `tokens ${first + 1} to ${last + 1}`;
}

/** A line for one member; null where it reads the token as it is. */
function coverLine(cover, position) {
  if (!cover) return null;
  const line = (...words) => h("p", { class: "gac-small gac-cover" }, ...words);
  if (cover.kind === "spelled") return line("reads it as ", ...pieces(cover.pieces));
  if (cover.kind === "together") return line(`reads ${tokensFrom(cover.since, position)} again, together: `, ...pieces(cover.pieces));
  if (!cover.pieces) return line("is inside a longer token of its own, and reads nothing until that is whole");
  if (cover.pieces.length > 1) return line("reads it only together with what follows, as ", ...pieces(cover.pieces), `, at token ${cover.until + 1}`);
  return line("is inside a longer token of its own, ", ...pieces(cover.pieces), `, whole at token ${cover.until + 1}`);
}

/** Why a token is marked as open, or has no text of its own. */
function opennessNote(step, token) {
  const notes = [];
  if (step.character) notes.push(h("span", {}, "It is a part of the character ", h("bdi", { class: "gac-piece", text: step.character }), ". "));
  else if (!step.is_end && token?.text === "") notes.push(h("span", { text: "Its text was held back until it was clear whether it begins an end of the answer. " }));
  if (step.is_open) notes.push(h("span", { text: "Open: what some member says as one token goes on beyond it, so the members agree on a beginning first." }));
  return notes.length ? h("p", { class: "gac-small gac-open-note" }, ...notes) : null;
}
