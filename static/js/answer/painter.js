// Paints marks behind the text by the CSS Custom Highlight API; static/css/tokens.css says how each name looks.
// Only what the chosen view shows is registered. Without the API (before Chrome 105, Safari 17.2, Firefox 140) the text
// is there, to be read and inspected, but unmarked.

export const CAN_PAINT = typeof Highlight === "function" && "highlights" in CSS;
const DOUBT_LEVELS = 5;
export const KINDS_OF_VIEW = { changes: ["changed", "asked", "forced"], confidence: ["doubt"], plain: [], rendered: [] };

const KNOWN = {}; // kind -> name -> highlight: the page's, of which each painter takes away its own

export class Painter {
  constructor() {
    Object.assign(this, { runs: new Set(), view: "changes" });
    if (CAN_PAINT) {
      this.hovered = CSS.highlights.get("gac-hover") ?? new Highlight();
      CSS.highlights.set("gac-hover", this.hovered);
    }
  }

  /** Paint marks of `text` that are new, or its last one anew; `isEnsemble`: members alone ask nobody. */
  paint(marks, text, isEnsemble) {
    if (!CAN_PAINT) return;
    const changed = new Set();
    for (const mark of marks) {
      const names = namesOf(mark, isEnsemble);
      for (const kind of Object.keys(names)) this.extend(text, kind, names[kind], mark, changed);
    }
    for (const run of changed) {
      if (run.range) run.highlight.delete(run.range);
      run.range = run.start < run.end ? new StaticRange(text.boundaries(run.start, run.end)) : null;
      if (run.range) run.highlight.add(run.range);
      this.runs.add(run);
    }
  }

  /** Marks that follow each other and look alike are one run: what is painted costs at every frame. */
  extend(text, kind, name, { start, end }, changed) {
    const last = text.runs[kind];
    if (last && last.end > start) {
      last.end = start; // of the mark that is painted anew
      changed.add(last);
    }
    if (!name) return;
    const run = last?.name === name && last.end === start ? last : { name, start, highlight: this.highlight(kind, name), range: null };
    run.end = end;
    text.runs[kind] = run;
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
    if (mark && !mark.isEnd) this.hovered?.add(new StaticRange(text.boundaries(mark.start, mark.end)));
  }

  clear() {
    this.hover(null);
    for (const { highlight, range } of this.runs) if (range) highlight.delete(range);
    this.runs.clear();
  }
}

/** By kind, the name of the highlight that a mark belongs to, or null. */
export function namesOf({ tokens }, isEnsemble) {
  const doubt = Math.round((1 - Math.min(...tokens.map((token) => token.prob))) * DOUBT_LEVELS), isChanged = tokens.some((token) => token.change);
  return {
    changed: isChanged ? "gac-changed" : null,
    asked: isEnsemble && !isChanged && tokens.some((token) => token.isGated) ? "gac-asked" : null,
    forced: tokens.some((token) => token.isForced) ? "gac-forced" : null,
    doubt: doubt > 0 ? `gac-doubt-${doubt}` : null,
  };
}
