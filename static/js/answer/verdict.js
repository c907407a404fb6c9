// Whether it helped, and what it cost: the sentences above an answer, a batch, a study and the ratings.

import { number, percent } from "../page/numbers.js";
import { t } from "../page/words.js";

const WORDS = new Intl.Segmenter(undefined, { granularity: "word" });

/** `asked`: tokens; `changed`: of these; `isKnown`: whether each was compared with what the gate alone would have written;
 * `isGates`: whether all are of the `gate`, a member's index; `words`, `changedWords`: of the text. */
export function changesIn(marks, tokens, gate) {
  const gated = tokens.filter((token) => token.isGated && !token.isForced), changes = marks.all.filter((mark) => mark.tokens.some((token) => token.change));
  let words = 0, changedWords = 0, at = 0;
  for (const { index, segment, isWordLike } of WORDS.segment(marks.text)) {
    while (changes[at]?.end <= index) at += 1;
    words += isWordLike;
    changedWords += isWordLike && changes[at]?.start < index + segment.length;
  }
  const asked = tokens.filter((token) => token.isGated).length, changed = tokens.filter((token) => token.change).length;
  return { asked, changed, isKnown: gated.every((token) => token.isCompared), isGates: tokens.every((token) => token.winner === gate), words, changedWords };
}

/** Of a run. `changed`: of the tokens `asked` about; `gate`, `others`: short names; `cost`: {ratio, name} or nothing; `ending`: of
 * the answer, see `Card`; `alone`: {name, ending} of the members' own answers. */
export function runVerdict({ asked, changed, isKnown, isGates, words, changedWords, mode, gate, others, cost, ending, alone }) {
  if (!others.length) return "";
  const who = others.length === 1 ? others[0] : t("helped.others"), agreement = mode === "agreement" ? ".agreement" : "";
  const what = !asked ? (isGates || agreement) && t(`helped.never${agreement}`, { gate, who })
    : !isKnown ? t("helped.asked", { n: asked })
      : !changed ? t(`helped.nothing${agreement}`, { who, n: asked })
        : changedWords ? t("helped.words", { who: capital(who), changed: changedWords, n: words }) : t("helped.tokens", { who: capital(who), n: changed });
  const rival = endingsApart(ending, alone, gate);
  return [what, rival ? t(`helped.${rival.words}`, rival) : "", cost ? costWords(cost, rival?.name) : ""].filter(Boolean).join(" ");
}

const capital = (who) => who[0].toUpperCase() + who.slice(1);

/** Where only one side came to its end: the words that say so, how many members they are of, and the name of the one. */
function endingsApart(ending, alone, gate) {
  const those = (how) => alone.filter((one) => one.ending === how).map(({ name }) => name);
  const ended = those("end"), how = ["repeats", "cut"].find((one) => (ending === "end" ? those(one).length : ending === one && ended.length));
  if (!how) return null;
  if (ending !== "end") return { words: `own.${how}`, name: ended.includes(gate) ? gate : ended[0] };
  const [name, ...more] = those(how);
  return { words: `alone.${how}`, n: 1 + more.length, name: more.length ? "" : name };
}

/** `ratio`: of the time per token, to that of `name` alone, who was just `named`. */
function costWords({ ratio, name }, named) {
  if (ratio < 0.95) return t("helped.cost.less", { part: percent(1 - ratio), name });
  return ratio < 1.05 ? t("helped.cost.same", { name }) : t(name === named ? "helped.cost.there" : "helped.cost", { ratio: number(ratio, 1), name });
}

const MAX_P = 0.05;

/** Of answers to the same questions, or of votes: `wins`, `losses`: how often only `system`, only `rival` was right or
 * preferred, of `n`, called `what`; `tried`: of how many systems it is the best. By an exact sign test. */
export function comparedVerdict({ rival, wins, losses, n, what, tried = 1 }) {
  const least = Math.ceil(Math.log2((2 * tried) / MAX_P)), values = { rival, wins, losses, what, points: Math.ceil((100 * least) / n) };
  if (tried * signTest(wins, losses) < MAX_P) return t(wins > losses ? "helped.better" : "helped.worse", values);
  return t(least > n ? "helped.few" : "helped.same", values);
}

/** How likely it is that equals part so far, either way. */
function signTest(wins, losses) {
  const n = wins + losses;
  let sum = 0, logTerm = -n * Math.LN2;
  for (let k = 0; k <= Math.min(wins, losses); k += 1) {
    sum += Math.exp(logTerm);
    logTerm += Math.log((n - k) / (k + 1));
  }
  return Math.min(1, 2 * sum);
}

/** Of ratings with their intervals. */
export function ratedVerdict(system, rival) {
  const order = system.low > rival.high ? "above" : system.high < rival.low ? "below" : "level";
  return t(`helped.rated.${order}`, { system: system.name, rival: rival.name });
}
