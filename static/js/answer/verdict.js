// Whether it helped, and what it cost: the sentences above an answer, a batch, a study and the ratings.

import { t } from "../page/words.js";

const WORDS = new Intl.Segmenter(undefined, { granularity: "word" });

/** `asked`: tokens; `changed`: of these; `isKnown`: whether each was compared with what the gate alone would have written;
 * `words`, `changedWords`: of the text. */
export function changesIn(marks, tokens) {
  const gated = tokens.filter((token) => token.isGated && !token.isForced), changes = marks.all.filter((mark) => mark.tokens.some((token) => token.change));
  let words = 0, changedWords = 0, at = 0;
  for (const { index, segment, isWordLike } of WORDS.segment(marks.text)) {
    while (changes[at]?.end <= index) at += 1;
    words += isWordLike;
    changedWords += isWordLike && changes[at]?.start < index + segment.length;
  }
  const asked = tokens.filter((token) => token.isGated).length, changed = tokens.filter((token) => token.change).length;
  return { asked, changed, isKnown: gated.every((token) => token.isCompared), words, changedWords };
}

/** Of a run. `changed`: of the tokens `asked` about; `gate`, `others`: short names; `cost`: {ratio, name} or nothing. */
export function runVerdict({ asked, changed, isKnown, words, changedWords, mode, gate, others, cost }) {
  if (!others.length) return "";
  const [one] = others, isOne = others.length === 1, who = isOne ? one : t("helped.Others"), agreement = mode === "agreement" ? ".agreement" : "";
  const what = !asked ? t(`helped.never${agreement}`, { gate, who: isOne ? one : t("helped.others") })
    : !isKnown ? t("helped.asked", { n: asked })
      : !changed ? t(`helped.nothing${agreement || (isOne ? ".member" : "")}`, { who, n: asked })
        : changedWords ? t("helped.words", { who, changed: changedWords, n: words }) : t("helped.tokens", { who, n: changed });
  return [what, cost ? t("helped.cost", cost) : ""].filter(Boolean).join(" ");
}
