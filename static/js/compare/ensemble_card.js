// The ensemble's card: a member's, with a legend, the gate's confidence and what the ensemble cost.

import { CAN_PAINT } from "../answer/painter.js";
import { ConfidencePlot } from "../answer/plot.js";
import { BESIDE } from "../answer/stream.js";
import { addFork, Card, MemberCard, offerMore } from "./card.js";
import { h, shortName } from "../page/elements.js";
import { number, percent, seconds } from "../page/numbers.js";
import { rich, saidParts, t, term } from "../page/words.js";

const MIN_TIMED = 8; // tokens; the speed of a shorter answer says little

class EnsembleCard extends Card {
  /** `how`: mode and threshold, and in a pair what only these settings have, in words. */
  constructor(stream, run, painter, actions, how = { ...run, words: run.beside?.here }) {
    super(stream, labelOf(how), painter, actions);
    this.root.classList.add("gac-ensemble");
    this.run = run;
    this.share = h("span", { class: "gac-speed" });
    this.subline.append(this.share);
    this.plot = new ConfidencePlot(how.threshold, how.mode, actions.onInspect);
    this.figures = h("dl", { class: "gac-figures" });
    this.foot.prepend(legend(how));
    this.details.prepend(this.plot.root, this.figures);
  }

  name() {
    return h("span", { text: this.label, title: this.label });
  }

  append(token) {
    super.append(token);
    this.plot.add(token);
  }

  refresh(others = []) {
    super.refresh();
    const { numGated, tokens, end } = this.stream, total = tokens.length;
    if (!total) return;
    this.share.replaceChildren(...rich("card.ensembled", { gated: numGated, total, share: percent(numGated / total), ensembled: this.ensembled ??= term("ensembled", t("ensembled")) }));
    if (!end || this.hasCost) return;
    const cost = this.cost(others); // known once all are over
    if (this.figures.children.length && !cost) return;
    this.hasCost = Boolean(cost);
    const usage = Object.entries(end.usage), summed = (of) => usage.map(([name, used]) => `${of(used)} ${shortName(name)}`).join(" + ");
    const figures = [
      usage.length ? ["card.passes", summed(([passes]) => number(passes))] : null,
      usage.length ? ["card.member-seconds", summed(([, spent]) => seconds(spent))] : null,
      end.replayed ? null : ["card.first-token", seconds(end.ttft_s)],
      cost,
    ];
    this.figures.replaceChildren(...figures.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, ...rich(name)), h("dd", { text: value }))));
  }

  /** Time per token against each member's alone, the slowest first; null until all are over, where an answer is too short
   * to time, and where some of it was decoded in an earlier run, which has been as fast as the machine then was. */
  cost(others) {
    const all = [this.stream, ...others];
    if (!others.length || this.run.is_partly_kept || all.some(({ end }) => !end || end.replayed || end.tokens < MIN_TIMED || end.tokens_per_s <= 0)) return null;
    const [slowest, ...faster] = others.toSorted((one, other) => one.end.tokens_per_s - other.end.tokens_per_s).map(({ name, end }) =>
      ({ name: shortName(name), ratio: number(end.tokens_per_s / this.stream.end.tokens_per_s, 1) }));
    return ["card.cost", [t("card.cost.slowest", slowest), ...faster.map((member) => t("card.cost.other", member))].join("; ")];
  }
}

/** The ensemble's answer of the run with other settings: a card like the first. */
class BesideCard extends EnsembleCard {
  constructor(stream, run, painter, actions) {
    super(stream, run, painter, actions, { ...run.beside, words: run.beside.there });
    addFork(this, actions);
  }
}

/** An ensemble's name: where there are two, how its settings differ. */
export const labelOf = ({ words }) => saidParts(words) || t("ensemble");

function legend(run) {
  return h("p", { class: "gac-legend" },
    run.mode === "every-step" ? null : h("span", { class: "gac-legend-gate" }, ...rich(`legend.${run.mode}`, { sample: h("i", { class: "gac-sample", text: t("legend.marked") }) })),
    h("span", { class: "gac-legend-winner" }, ...rich("legend.winner")),
    h("span", { class: "gac-legend-doubt" }, h("i", { text: t("legend.sure") }), h("i", { text: t("legend.unsure") })),
    h("span", { class: "gac-legend-partial" }, ...rich("legend.partial", { sample: h("i", { class: "gac-sample-partial", text: t("legend.partial.sample") }) })),
    CAN_PAINT ? null : h("span", { text: t("legend.cannot-mark") }));
}

/** The card of a stream; `actions` of `Card`, and onAsk(event, fields). */
export function newCard(stream, run, painter, actions) {
  const kind = stream.key === BESIDE ? BesideCard : stream.member < 0 ? EnsembleCard : MemberCard;
  const card = new kind(stream, run, painter, actions);
  card.isLive = run.is_live;
  if (run.swap && stream.key !== BESIDE) card.swapAt = run.branch_position;
  if (run.is_again && stream.key !== BESIDE) card.awaitComparison();
  if (run.is_own) offerMore(card, run, actions.onAsk);
  return card;
}
