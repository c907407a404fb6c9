// The views, which say what marks mean, and the way to the next gated token.

const VIEWS = ["gate", "winner", "confidence", "plain", "rendered"];

/** The view that a run opens in. */
const viewOf = (run) => (run.mode === "every-step" ? "winner" : "gate");

class Toolbar {
  /** `actions`: {onView(view), onNext()}. */
  constructor(views, next, actions) {
    this.views = views;
    this.next = next;
    views.replaceChildren(...VIEWS.map((id) =>
      h("label", { title: t(`view.${id}.title`) }, h("input", { type: "radio", name: "gac-view", value: id, onchange: () => actions.onView(id) }), h("span", { text: t(`view.${id}`) }))));
    next.addEventListener("click", actions.onNext);
  }

  check(view) {
    this.views.querySelector(`[value=${view}]`).checked = true;
  }

  start(run, view) {
    this.check(view);
    this.next.disabled = true;
    this.next.hidden = run.mode === "every-step";
  }
}
