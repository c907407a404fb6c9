// A small tip beside what is pointed at or focused, one for the page. It never takes the pointer, and goes with a scroll
// or Escape.

import { h } from "./elements.js";
import { t } from "./words.js";

const TIP_GAP = 6, TIP_MARGIN = 8; // px

class Tip {
  constructor() {
    this.root = h("div", { id: "gac-tip", role: "tooltip", hidden: true });
    (document.querySelector(".gradio-container") ?? document.body).append(this.root);
    document.addEventListener("scroll", () => this.hide(), { capture: true, passive: true });
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.hide(), { capture: true });
    this.explainTerms();
  }

  /** An element with data-term="gate" shows one line for a word that a newcomer lacks, of the keys "glossary...". */
  explainTerms() {
    const termAt = (event) => event.target.closest?.("[data-term]");
    const explain = (event) => {
      const at = termAt(event);
      if (at) this.show(t(`glossary.${at.dataset.term}`), at.getBoundingClientRect());
    };
    for (const name of ["pointerover", "focusin", "click"]) document.addEventListener(name, explain);
    for (const name of ["pointerout", "focusout"]) document.addEventListener(name, (event) => termAt(event) && this.hide());
  }

  show(text, rect) {
    if (!text || !rect) return this.hide();
    this.root.textContent = text;
    this.root.hidden = false;
    const { width, height } = this.root.getBoundingClientRect();
    const left = Math.max(TIP_MARGIN, Math.min(rect.left, innerWidth - width - TIP_MARGIN));
    const above = rect.top - height - TIP_GAP;
    Object.assign(this.root.style, { left: `${left}px`, top: `${above > TIP_MARGIN ? above : rect.bottom + TIP_GAP}px` });
  }

  hide() {
    this.root.hidden = true;
  }
}

let tip = null;

/** The page's tip. */
export const theTip = () => (tip ??= new Tip());
