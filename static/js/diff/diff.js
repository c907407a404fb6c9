// Two answers side by side, word by word, with the first place where they part.

import "../../vendor/diff.min.js";
import { h } from "../page/elements.js";
import { t } from "../page/words.js";

const DIFF_MS = 2000; // longer, and only what both begin and end with is told from the rest
const WORDS = new Intl.Segmenter(undefined, { granularity: "word" });

/** `remembered`: entries of answers that were on the board, by run and stream. */
export function showDiff(board, remembered) {
  const dialog = board.part("diff"), shown = board.run.id;
  const current = board.streams.map((stream, index) => [`now ${index}`, { who: board.cards[index].label, text: stream.text }]);
  const earlier = remembered.filter(([, answer]) => answer.run !== shown && answer.run !== board.run.beside?.run).reverse();
  const answers = new Map([...current, ...earlier]);
  const choose = (label, chosen) => {
    const option = ([id, { who, prompt }]) => h("option", { value: id, text: prompt === undefined ? who : `${who}: ${prompt.slice(0, 50)}`, selected: id === chosen });
    return h("select", { "aria-label": label, onchange: () => draw() }, h("optgroup", { label: t("diff.this-run") }, ...current.map(option)),
      earlier.length ? h("optgroup", { label: t("diff.seen-before") }, ...earlier.map(option)) : null);
  };
  const left = choose(t("diff.first"), "now 0"), right = choose(t("diff.second"), current.length > 1 ? `now ${current.length - 1}` : "now 0");
  const body = h("div", { class: "gac-diff-body" }), said = h("p", { class: "gac-small", role: "status" });
  const draw = () => drawDiff(answers.get(left.value).text, answers.get(right.value).text, body, said);
  const close = h("button", { type: "button", class: "gac-button", text: t("close"), onclick: () => dialog.close() });
  dialog.replaceChildren(h("header", {}, h("h2", { text: t("diff.compare") }), close), h("div", { class: "gac-diff-choice" }, left, right), said, body);
  draw();
  dialog.showModal();
}

const wordsOf = (text) => Array.from(WORDS.segment(text), ({ segment }) => segment);

/** Parts of two texts: {value: words, added, removed}. */
function partsOf(before, now) {
  const found = globalThis.Diff.diffArrays(before, now, { timeout: DIFF_MS });
  if (found) return found;
  let start = 0, end = 0;
  const least = Math.min(before.length, now.length);
  while (start < least && before[start] === now[start]) start += 1;
  while (end < least - start && before.at(-1 - end) === now.at(-1 - end)) end += 1;
  return [{ value: before.slice(0, start) }, { value: before.slice(start, before.length - end), removed: true },
    { value: now.slice(start, now.length - end), added: true }, { value: before.slice(before.length - end) }].filter((part) => part.value.length);
}

function drawDiff(before, now, body, said) {
  const sides = [h("div", { class: "gac-diff-side", dir: "auto", tabindex: "0", role: "group", "aria-label": t("diff.first") }),
    h("div", { class: "gac-diff-side", dir: "auto", tabindex: "0", role: "group", "aria-label": t("diff.second") })];
  const parts = partsOf(wordsOf(before), wordsOf(now));
  const first = parts.findIndex((part) => part.added || part.removed);
  parts.forEach((part, index) => {
    if (index === first) for (const side of sides) side.append(h("i", { class: "gac-parting", "aria-hidden": "true" }));
    const text = part.value.join("");
    if (!part.added) sides[0].append(part.removed ? h("del", { text }) : text);
    if (!part.removed) sides[1].append(part.added ? h("ins", { text }) : text);
  });
  body.replaceChildren(...sides);
  const same = first < 0 ? "" : parts.slice(0, first).map((part) => part.value.join("")).join("");
  said.textContent = first < 0 ? t("diff.same") : t("diff.apart", { n: same.trim() ? [...same].length + 1 : 1 });
  for (const side of sides) side.querySelector(".gac-parting")?.scrollIntoView?.({ block: "nearest" });
}
