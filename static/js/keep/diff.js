// The answers that can be compared, and what compares them, which is loaded when it is wanted.

import { BESIDE } from "../answer/stream.js";

const MAX_REMEMBERED = 24;
const remembered = new Map(); // run and stream -> {who, prompt, text, run}: answers that were on the board

/** An answer that is over can be compared with later ones. */
export function remember(board) {
  const { run } = board;
  board.streams.forEach((stream, index) => {
    const who = board.cards[index].label, id = stream.key === BESIDE ? `${run.beside.run} ensemble` : `${run.id} ${stream.key}`;
    if (!stream.text || (stream.key === BESIDE && remembered.has(id))) return;
    remembered.delete(id);
    remembered.set(id, { who, prompt: run.prompt, text: stream.text, run: stream.key === BESIDE ? run.beside.run : run.id });
  });
  while (remembered.size > MAX_REMEMBERED) remembered.delete(remembered.keys().next().value);
}

/** Of runs that were deleted nothing is kept; `runs`: their ids, or null for all. */
export function forgetAnswers(runs) {
  for (const [id, answer] of remembered) if (!runs || runs.includes(answer.run)) remembered.delete(id);
}

/** Load what compares, and open it. */
export async function openDiff(board) {
  const { modules } = await import("gac/tabs");
  modules["diff/diff"].showDiff(board, [...remembered]);
}
