// Paints marks behind the text by the CSS Custom Highlight API; static/css/tokens.css says how each name looks.
// Only what the chosen view shows is registered. Without the API (before Chrome 105, Safari 17.2, Firefox 140) the text
// is there, to be read and inspected, but unmarked.

export const CAN_PAINT = typeof Highlight === "function" && "highlights" in CSS;
const DOUBT_LEVELS = 5;
export const KINDS_OF_VIEW = { changes: ["changed", "asked", "forced"], confidence: ["doubt"] };

const KNOWN = {}; // kind -> name -> highlight: the page's, of which each painter takes away its own

export class Painter {
  constructor() {
    Object.assign(this, { runs: new Set(), view: "changes" });
    if (CAN_PAINT) {
      this.hovered = CSS.highlights.get("gac-hover") ?? new Highlight();
      CSS.highlights.set("gac-hover", this.hovered);
    }
  }

  /** Paint marks of `text` that are new, or its last one anew, and what stands at or after an offset; `isEnsemble`: members
   * alone ask nobody. */
  paint(marks, text, isEnsemble, from) {
    if (!CAN_PAINT) return;
    const changed = new Set();
    for (const mark of marks) {
      const names = namesOf(mark, isEnsemble);
      for (const kind of Object.keys(names)) this.extend(text, kind, names[kind], mark, changed);
    }
    for (const runs of Object.values(text.runs)) for (let at = runs.length - 1; at >= 0 && runs[at].end > from; at -= 1) changed.add(runs[at]);
    for (const run of changed) {
      for (const range of run.ranges) run.highlight.delete(range);
      run.ranges = text.rangesOf(run.start, run.end);
      for (const range of run.ranges) run.highlight.add(range);
      this.runs.add(run);
    }
  }

  /** Marks that follow each other and look alike are one run: what is painted costs at every frame. */
  extend(text, kind, name, { start, end }, changed) {
    const runs = (text.runs[kind] ??= []), last = runs.at(-1);
    if (last && last.end > start) {
      last.end = start; // of the mark that is painted anew
      changed.add(last);
    }
    if (!name) return;
    const isSame = last?.name === name && last.end === start, run = isSame ? last : { name, start, highlight: this.highlight(kind, name), ranges: [] };
    run.end = end;
    if (!isSame) runs.push(run);
    changed.add(run);
  }

  highlight(kind, name) {
    const known = (KNOWN[kind] ??= {});
    if (!known[name]) {
      known[name] = new Highlight();
      if (KINDS_OF_VIEW[this.view].includes(kind)) CSS.highlights.set(name, known[name]);
    }
    return known[name];
  }

  show(view) {
    this.view = view;
    for (const [kind, known] of Object.entries(KNOWN)) {
      for (const [name, highlight] of Object.entries(known)) {
        if (KINDS_OF_VIEW[view].includes(kind)) CSS.highlights.set(name, highlight);
        else CSS.highlights.delete(name);
      }
    }
  }

  hover(mark, text) {
    this.hovered?.clear();
    if (mark && !mark.isEnd) for (const range of text.rangesOf(mark.start, mark.end)) this.hovered?.add(range);
  }

  clear() {
    this.hover(null);
    for (const { highlight, ranges } of this.runs) for (const range of ranges) highlight.delete(range);
    this.runs.clear();
  }
}

/** By kind, the name of the highlight that a mark belongs to, or null. */
export function namesOf({ tokens }, isEnsemble) {
  const doubt = Math.round((1 - Math.min(...tokens.map((token) => token.prob))) * DOUBT_LEVELS), isChanged = tokens.some((token) => token.change);
  return {
    changed: isChanged ? "gac-changed" : null,
    asked: isEnsemble && !isChanged && tokens.some((token) => token.isGated) ? "gac-asked" : null,
    forced: !isChanged && tokens.some((token) => token.isForced) ? "gac-forced" : null,
    doubt: doubt > 0 ? `gac-doubt-${doubt}` : null,
  };
}
