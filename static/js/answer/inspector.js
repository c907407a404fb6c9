// The token inspector: a panel over the other answers on wide screens, beside the text that it explains; a sheet at the
// bottom on narrow ones. It is there only while a token is chosen.

import { candidateBars } from "./candidates.js";
import { coverLine, opennessNote } from "./covers.js";
import { changed, swapped } from "./hints.js";
import { BESIDE } from "./stream.js";
import { answerTo } from "../page/browser.js";
import { h, memberName, shortName } from "../page/elements.js";
import { number, percent, probability } from "../page/numbers.js";
import { rich, said, t } from "../page/words.js";

const FOLLOW_MS = 70; // arrow keys may run over many tokens; only where they rest is asked about

export class Inspector {
  /** `actions`: {onBranch(position, tokenId), onMove(step), onChoose(position), onClose(), onShown()};
   * `fetchStep(stream, position)` -> reply. */
  constructor(root, fetchStep, actions) {
    Object.assign(this, { root, fetchStep, actions, timer: 0 });
    this.clear(null);
  }

  get isOpen() {
    return this.at !== null;
  }

  /** Which token it is, and why it stands there. */
  get words() {
    return [...this.root.querySelectorAll("h3, .gac-chosen, .gac-verdict, .is-error")].map((part) => part.innerText).join(" ");
  }

  clear(run) {
    Object.assign(this, { run, cache: new Map() }); // a reply that comes late goes into the former run's
    this.close();
  }

  close() {
    this.at = null;
    clearTimeout(this.timer);
    this.root.hidden = true;
    this.root.replaceChildren();
  }

  /** `parts`: the tokens that are one mark with this one. */
  show(stream, position, parts, isLater = false) {
    this.at = `${stream.key} ${position}`;
    Object.assign(this, { stream, parts });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(stream, position, this.at), isLater ? FOLLOW_MS : 0);
  }

  async load(stream, position, at) {
    const { cache } = this;
    let reply = cache.get(at);
    if (!reply) {
      reply = await answerTo(this.fetchStep(stream, position));
      // While it streams, what follows may still tell more about this token.
      if (!reply.error && stream.end) cache.set(at, reply);
    }
    if (this.at !== at || this.cache !== cache) return; // another token was chosen meanwhile
    const scroll = this.root.scrollTop, held = this.root.contains(document.activeElement) && document.activeElement.getAttribute("aria-label");
    this.root.replaceChildren(...(reply.error ? [this.head(position), h("p", { class: "gac-card-note is-error", text: said(reply.error) })] : this.body(stream, reply)));
    this.root.hidden = false;
    this.root.scrollTop = scroll;
    if (held) [...this.root.querySelectorAll("button")].find((button) => button.getAttribute("aria-label") === held)?.focus();
    this.actions.onShown();
  }

  memberIndex = (name = null) => {
    const index = name === null ? this.stream.member : this.run.members.indexOf(name);
    return index < 0 ? "all" : index % 6;
  };

  head(position) {
    const move = (step, text, label) => h("button", { type: "button", class: "gac-icon", text, "aria-label": label, onclick: () => this.actions.onMove(step) });
    return h("header", {},
      h("h3", { text: t("token", { token: position + 1 }) }), h("span", { class: "gac-spacer" }),
      move(-1, "‹", t("inspector.previous")), move(1, "›", t("inspector.next")),
      h("button", { type: "button", class: "gac-icon", text: t("close"), "data-act": "close", onclick: () => this.actions.onClose() }));
  }

  body(stream, step) {
    const { change } = stream.tokens[step.position], isEnsemble = stream.member < 0, isCombined = isEnsemble && step.members.length > 1;
    const branch = isEnsemble && stream.key !== BESIDE && this.run.is_own ? (candidate) => this.actions.onBranch(step.position, candidate.id) : null;
    return [
      this.head(step.position),
      h("p", { class: "gac-chosen" }, h("bdi", { class: step.is_end ? "gac-label is-end" : "gac-label", text: step.is_end ? t("end") : step.label }),
        h("span", { text: probability(step.prob) })),
      h("p", { class: "gac-verdict", text: isEnsemble ? verdict(step, this.run) : t("inspector.alone") }),
      change ? h("p", { class: "gac-verdict", text: changed(change, step.gate) }) : null,
      isEnsemble && step.mode === "gate" ? gauge(step) : null,
      draftLine(step),
      this.partsOf(step),
      opennessNote(step, stream.tokens[step.position], stream.end),
      ...(isCombined ? weightsAt(step, this.memberIndex) : []),
      h("h4", { text: t(isCombined ? "inspector.combined" : "inspector.candidates") }),
      candidateBars(step.top, this.memberIndex, branch),
      ...(isCombined ? step.members.map((member) => this.member(member, step, branch)) : step.members.flatMap((member) => [
        isEnsemble ? coverLine(step.covers[member.name], step.position) : null, h("p", { class: "gac-small" }, ...reading(member))])),
      isEnsemble ? this.notAsked(step) : null,
    ].filter(Boolean);
  }

  /** The tokens that one mark stands for, to choose among. */
  partsOf(step) {
    if (this.parts.length < 2) return null;
    const first = this.parts[0].index, last = this.parts.at(-1).index;
    return h("p", { class: "gac-small gac-parts" }, `${t("inspector.parts", { first: first + 1, last: last + 1 })} `,
      ...this.parts.map(({ index }) => h("button", { type: "button", class: "gac-part", text: String(index + 1), "aria-label": t("inspector.inspect", { token: index + 1 }),
        "aria-current": index === step.position ? "true" : null, onclick: () => this.actions.onChoose(index) })));
  }

  member(member, step, branch) {
    const index = this.run.members.indexOf(member.name);
    return h("section", { class: "gac-inspected" },
      h("h4", {}, memberName(member.name, index), h("span", { class: "gac-weight" }, ...rich("inspector.weight", { weight: probability(member.weight) }))),
      h("p", { class: "gac-small", text: t(member.includes_longer ? "inspector.gave-longer" : "inspector.gave", { prob: probability(member.prob), rank: member.rank }) }),
      candidateBars(member.top, () => index % 6, branch),
      coverLine(step.covers[member.name], step.position),
      h("p", { class: "gac-small" }, ...reading(member)));
  }

  notAsked(step) {
    const asked = new Set(step.members.map((member) => member.name));
    const rest = this.run.members.filter((name) => this.run.streams.includes(`member:${name}`) && !asked.has(name) && !step.dropped.includes(name));
    const lines = [];
    if (rest.length) lines.push(t(step.mode === "agreement" || step.drawn ? "inspector.no-part" : "inspector.not-asked", { names: rest.map(shortName).join(", ") }));
    if (step.dropped.length) lines.push(t("inspector.lost", { names: step.dropped.map(shortName).join(", ") }));
    return lines.length ? h("p", { class: "gac-small", text: lines.join(" ") }) : null;
  }
}

function verdict(step, run) {
  const { mode } = step, values = { gate: shortName(step.gate ?? ""), winner: shortName(step.winner ?? ""), sure: probability(step.confidence), threshold: percent(step.threshold) };
  if (step.is_forced) return run.swap && step.position === run.branch_position ? `${t("tip.swapped", swapped(run.swap))}.` : t("verdict.given");
  if (step.drawn) return t("verdict.drawn", values);
  return t(`verdict.${mode}${step.is_ensembled ? "" : ".alone"}`, values);
}

/** Who drafted for the place, and what came of it. What a branch replays was drafted in another run, if at all. */
function draftLine({ is_drafted: isAccepted, drafted_by: by, is_forced: isForced }) {
  if (isForced || (!isAccepted && !by)) return null;
  const key = `inspector.draft.${!by ? "somebody" : by.length ? "member" : "lookup"}`;
  return h("p", { class: "gac-small gac-draft" }, ...rich(isAccepted ? key : `${key}.rejected`, { names: by?.map(shortName).join(", ") }));
}

function gauge(step) {
  return h("div", { class: "gac-gauge", role: "img", "aria-label": t("inspector.gauge", { confidence: percent(step.confidence), threshold: percent(step.threshold) }) },
    h("i", { style: `width:${(Math.min(1, step.confidence) * 100).toFixed(1)}%` }),
    h("b", { style: `left:${(Math.min(1, step.threshold) * 100).toFixed(1)}%`, title: t("inspector.threshold", { threshold: percent(step.threshold) }) }));
}

/** The members' weights at one step as a bar, and what moves them. */
function weightsAt(step, memberIndex) {
  const words = step.members.map((member) => `${member.name} ${probability(member.weight)}`).join(", ");
  const bar = h("div", { class: "gac-weights", role: "img", "aria-label": words, title: words },
    ...step.members.map((member) => h("i", { "data-w": memberIndex(member.name), style: `width:${(member.weight * 100).toFixed(2)}%` })));
  const why = step.weights_follow && t(`weights.${step.weights_follow}`);
  return [h("h4", {}, h("span", {}, ...rich("weights.title"))), bar, why ? h("p", { class: "gac-small", text: why }) : null];
}

/** What a member read for this step: text and terms. */
function reading(member) {
  const read = member.num_read === 0 ? rich("inspector.no-pass") : [t("inspector.read", { count: member.num_read, ms: number(member.ms, member.ms < 10 ? 1 : 0) })];
  if (member.num_told) read.push("; ", t(member.missing ? "inspector.guessed" : "inspector.told", { count: member.num_told, prob: probability(member.missing) }));
  return read;
}
