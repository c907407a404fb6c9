// The ensemble's card: a member's, with a legend, the gate's confidence and what the ensemble cost.

class EnsembleCard extends Card {
  constructor(stream, run, painter, actions) {
    super(stream, "Ensemble", painter, actions);
    this.root.classList.add("gac-ensemble");
    this.run = run;
    this.share = h("span", { class: "gac-speed" });
    this.subline.append(this.share);
    this.plot = new ConfidencePlot(run.threshold, run.mode, actions.onInspect);
    this.figures = h("dl", { class: "gac-figures" });
    this.foot.prepend(legend(run), this.plot.root, this.figures);
  }

  name() {
    return h("span", { text: "Ensemble" });
  }

  append(token) {
    super.append(token);
    this.plot.add(token);
  }

  refresh(others = []) {
    super.refresh();
    const { numGated, tokens, end } = this.stream, total = tokens.length;
    if (!total) return;
    this.share.replaceChildren(`${numGated} of ${total} (${percent(numGated / total)}) `, this.ensembled ??= term("ensembled"));
    if (!end || this.figures.children.length) return;
    const passes = Object.entries(end.forwards).map(([name, count]) => `${count} ${name}`).join(" + ");
    const figures = [[term("first token"), seconds(end.ttft_s)], passes ? [term("forward pass", "forward passes"), passes] : null, this.cost(others)];
    this.figures.replaceChildren(...figures.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { text: value }))));
  }

  /** Time per token against each member's alone, in the members' order; null until all are over. */
  cost(others) {
    const own = this.stream.end.tokens_per_s, speeds = others.map((stream) => stream.end?.tokens_per_s ?? 0);
    if (!own || speeds.some((speed) => speed <= 0)) return null;
    const ratios = speeds.map((speed, index) => `${(speed / own).toFixed(1)} × ${others[index].name}`);
    return ["time per token, against each member alone", ratios.join(", ")];
  }
}

function legend(run) {
  return h("p", { class: "gac-legend" },
    run.mode === "every-step" ? null : h("span", { class: "gac-legend-gate" }, h("i", { class: "gac-sample", text: "marked" }), " the ", term("gate"), " was unsure and asked the others"),
    h("span", { class: "gac-legend-winner" }, "colour and line: who ", term("winner", "carried"), " the token"),
    h("span", { class: "gac-legend-doubt" }, h("i", { text: "sure" }), h("i", { text: "unsure" })),
    h("span", { class: "gac-legend-open" }, h("i", { class: "gac-sample-open", text: "open" }), " ", term("partial token")),
    CAN_PAINT ? null : h("span", { text: "This browser cannot mark tokens; any token can still be chosen." }));
}

/** The card of a stream; `actions` of `Card`, and onAsk(event, fields). */
function newCard(stream, run, painter, actions) {
  const kind = stream.key === BESIDE ? BesideCard : stream.member < 0 ? EnsembleCard : MemberCard;
  const card = new kind(stream, run, painter, actions);
  if (run.is_own) offerMore(card, run, actions.onAsk);
  return card;
}
