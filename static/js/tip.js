// A small tip beside what is pointed at or focused. It never takes the pointer, and goes with a scroll or Escape.

const TIP_GAP = 6, TIP_MARGIN = 8; // px

class Tip {
  constructor() {
    // One for the page, whoever shows it.
    this.root = document.querySelector("#gac-tip") ?? h("div", { id: "gac-tip", role: "tooltip", hidden: true });
    (document.querySelector(".gradio-container") ?? document.body).append(this.root);
    document.addEventListener("scroll", () => this.hide(), { capture: true, passive: true });
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.hide(), { capture: true });
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

/** What a token's tip says: how likely it was, and who carried it. */
function hintOf(stream, index, run, numParts) {
  const token = stream.tokens[index], isEnsemble = stream.member < 0;
  const part = numParts > 1 ? ` · ${t("tip.parts", { count: numParts })}` : "";
  if (token.isForced) return run.swap && index === run.branch_position ? t("tip.swapped", swapped(run.swap)) : t("tip.repeated");
  const words = [`${token.isEnd ? t("tip.end") : t("token", { token: index + 1 })}: ${probability(token.prob)}`];
  if (token.isDrawn) return [...words, t("tip.drawn", { name: run.members[token.winner] })].join(" · ") + part;
  if (isEnsemble && token.isGated) words.push(run.mode === "gate" ? t("tip.unsure", { sure: probability(token.confidence) }) : t("tip.combined"));
  if (isEnsemble && token.winner >= 0) words.push(t(token.isGated ? "tip.carried" : "tip.alone", { name: run.members[token.winner] }));
  return words.join(" · ") + part;
}
