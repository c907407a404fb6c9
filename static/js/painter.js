// Paints marks behind the text by the CSS Custom Highlight API; static/css/tokens.css says how each name looks.
// Only what the chosen view shows is registered. Without the API (before Chrome 105, Safari 17.2, Firefox 140) the text
// is there, to be read and inspected, but unmarked.

const CAN_PAINT = typeof Highlight === "function" && "highlights" in CSS;
const DOUBT_LEVELS = 8;
const KINDS_OF_VIEW = { gate: ["gate", "open", "forced"], winner: ["winner", "open", "forced"], confidence: ["doubt"], plain: [] };

class Painter {
  constructor() {
    Object.assign(this, { kinds: {}, view: "gate" });
    if (CAN_PAINT) {
      this.hovered = new Highlight();
      CSS.highlights.set("gac-hover", this.hovered);
    }
  }

  /** Paint a mark of `text` anew; `isEnsemble`: members answer alone, with neither gate nor winner. */
  paint(mark, text, isEnsemble) {
    if (!CAN_PAINT) return;
    for (const [highlight, range] of mark.painted ?? []) highlight.delete(range);
    const range = new StaticRange(text.boundaries(mark.start, mark.end));
    mark.painted = paintsOf(mark, isEnsemble).map(([kind, name]) => {
      const highlight = this.highlight(kind, name);
      highlight.add(range);
      return [highlight, range];
    });
  }

  highlight(kind, name) {
    const known = (this.kinds[kind] ??= {});
    if (!known[name]) {
      known[name] = new Highlight();
      if (KINDS_OF_VIEW[this.view].includes(kind)) CSS.highlights.set(name, known[name]);
    }
    return known[name];
  }

  show(view) {
    this.view = view;
    for (const [kind, known] of Object.entries(this.kinds)) {
      for (const [name, highlight] of Object.entries(known)) {
        if (KINDS_OF_VIEW[view].includes(kind)) CSS.highlights.set(name, highlight);
        else CSS.highlights.delete(name);
      }
    }
  }

  hover(mark, text) {
    this.hovered?.clear();
    if (mark && !mark.isEnd) this.hovered?.add(new StaticRange(text.boundaries(mark.start, mark.end)));
  }

  clear() {
    this.hover(null);
    for (const known of Object.values(this.kinds)) for (const highlight of Object.values(known)) highlight.clear();
  }
}

function paintsOf({ tokens }, isEnsemble) {
  const paints = [];
  const winner = tokens.findLast((token) => token.winner >= 0)?.winner ?? -1, who = winner < 0 ? "all" : winner % 6;
  if (isEnsemble) {
    if (tokens.some((token) => token.isGated)) paints.push(["gate", `gac-gate-${who}`]);
    if (winner >= 0) paints.push(["winner", `gac-winner-${who}`]);
    if (tokens.at(-1).isOpen) paints.push(["open", "gac-open"]);
  }
  if (tokens.some((token) => token.isForced)) paints.push(["forced", "gac-forced"]);
  const doubt = Math.round((1 - Math.min(...tokens.map((token) => token.prob))) * DOUBT_LEVELS);
  if (doubt > 0) paints.push(["doubt", `gac-doubt-${doubt}`]);
  return paints;
}
