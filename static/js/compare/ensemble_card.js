// The ensemble's card: a member's, with a verdict, a legend, the gate's confidence and what the ensemble cost.

import { CAN_PAINT } from "../answer/painter.js";
import { ConfidencePlot } from "../answer/plot.js";
import { BESIDE } from "../answer/stream.js";
import { changesIn, runVerdict } from "../answer/verdict.js";
import { addFork, addVersions, Card, MemberCard, offerMore } from "./card.js";
import { copyBy } from "../page/browser.js";
import { briefName, h, shortName } from "../page/elements.js";
import { number, percent, seconds } from "../page/numbers.js";
import { rich, saidShort, t } from "../page/words.js";

const DIGITS_SHOWN = 8; // of a digest
const MIN_TIMED = 8; // tokens; the speed of a shorter answer says little

class EnsembleCard extends Card {
  /** `how`: mode and threshold, and in a pair what only these settings have, in words. */
  constructor(stream, run, painter, actions, how = { ...run, words: run.beside?.here }) {
    super(stream, labelOf(how), painter, actions);
    this.root.classList.add("gac-ensemble");
    Object.assign(this, { run, how });
    this.outcome = h("p", { class: "gac-outcome", role: "status" });
    const alone = run.members.filter((name) => run.streams.includes(`member:${name}`)); // those who took part; two ensembles have none
    this.others = (alone.length ? alone : run.members).filter((name) => name !== how.gate).map(briefName);
    this.subline.append(this.outcome, legend(this.others));
    this.menu.before(this.speed);
    this.plot = new ConfidencePlot(how.threshold, how.mode, actions.onInspect);
    this.figures = h("dl", { class: "gac-figures" });
    this.proof = h("p", { class: "gac-proof" });
    this.foot.append(h("details", { class: "gac-details" }, h("summary", { text: t("card.details") }), this.plot.root, this.figures, this.proof));
  }

  name() {
    return h("span", { text: this.label, title: this.label });
  }

  append(token) {
    super.append(token);
    this.plot.add(token);
  }

  /** `alone`: the members' cards. */
  refresh(alone = []) {
    super.refresh();
    const { tokens, end, isWhole } = this.stream;
    const isOver = alone.every(({ stream }) => stream.isWhole);
    if (!isWhole || this.isOver || (this.figures.children.length && !isOver)) return;
    this.isOver = isOver;
    const costs = isOver && this.costs(alone.map(({ stream }) => stream)), changes = changesIn(this.tokens.marks, tokens, this.run.members.indexOf(this.how.gate));
    this.outcome.textContent = tokens.length ? this.verdict(changes, costs, isOver ? alone : []) : "";
    const usage = Object.entries(end.usage), summed = (of) => usage.map(([name, used]) => `${of(used)} ${shortName(name)}`).join(" + ");
    const figures = [
      usage.length ? ["card.passes", summed(([passes]) => number(passes))] : null,
      usage.length ? ["card.member-seconds", summed(([, spent]) => seconds(spent))] : null,
      end.replayed ? null : ["card.first-token", seconds(end.ttft_s)],
      tokens.length ? ["card.asked", t("card.asked.of", { gated: changes.asked, total: tokens.length, share: percent(changes.asked / tokens.length) })] : null,
      costs ? ["card.cost", costs.map(({ name, ratio }) => t("card.cost.of", { name: shortName(name), ratio: number(ratio, 1) })).join("; ")] : null,
    ];
    this.figures.replaceChildren(...figures.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, ...rich(name)), h("dd", { text: value }))));
  }

  verdict(changes, costs, alone) {
    const { how: { mode, gate }, others, ending } = this, cost = costs && costs.find(({ name }) => name === gate);
    return runVerdict({ ...changes, mode, gate: briefName(gate), others, cost: cost && { ...cost, name: briefName(gate) },
      ending, alone: alone.map((card) => ({ name: briefName(card.stream.name), ending: card.ending })) });
  }

  finish(end) {
    super.finish(end);
    if (end.digest && !end.replayed && this.tokens.count > 0) this.prove(end);
  }

  /** The digest of the answer's steps, and whether it can be had again: not of an answer that was continued. */
  prove({ digest, reproducible }) {
    const text = t("card.digest", { digits: digest.slice(0, DIGITS_SHOWN) }), proof = reproducible ? "card.reproducible" : "card.not-reproducible";
    const button = h("button", { type: "button", class: "gac-fork", text, title: t("card.digest.title", { digest }), onclick: () => copyBy(button, digest, text) });
    this.proof.append(h("span", {}, button, " · ", h("span", { text: t(proof), title: t(`${proof}.title`) })));
  }

  /** Time per token against each member's alone, the slowest first; null where an answer is too short
   * to time, and where some of it was decoded in an earlier run, which has been as fast as the machine then was. */
  costs(others) {
    const all = [this.stream, ...others];
    if (!others.length || this.run.is_partly_kept || all.some(({ end }) => end.replayed || end.tokens < MIN_TIMED || end.tokens_per_s <= 0)) return null;
    return others.toSorted((one, other) => one.end.tokens_per_s - other.end.tokens_per_s).map(({ name, end }) =>
      ({ name, ratio: end.tokens_per_s / this.stream.end.tokens_per_s }));
  }
}

/** The ensemble's answer of the run with other settings: a card like the first. */
class BesideCard extends EnsembleCard {
  constructor(stream, run, painter, actions) {
    super(stream, run, painter, actions, { ...run.beside, words: run.beside.there });
    addFork(this, actions, t("card.differs.from", { name: labelOf({ words: run.beside.here }) }));
  }
}

/** An ensemble's name: where there are two, how its settings differ. */
export const labelOf = ({ words }) => saidShort(words) || t("ensemble");

/** What the marks mean; `others`: who is asked beside the gate. */
function legend(others) {
  const who = others.length === 1 ? others[0] : t("helped.others"), sample = (key) => h("i", { class: `gac-sample is-${key}`, text: t(`legend.${key}`, { who }) });
  return h("p", { class: "gac-legend" },
    others.length ? h("span", { class: "gac-legend-changes" }, sample("changed"), sample("asked")) : null,
    h("span", { class: "gac-legend-doubt" }, h("i", { text: t("legend.sure") }), h("i", { text: t("legend.unsure") })),
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
  if (stream.index === 0) addVersions(card, run, actions.onAsk);
  return card;
}
