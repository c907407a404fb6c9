// One chip per member: how far it is on its way to being ready.

const chips = element.querySelector(".gac-chips");
const notes = element.querySelector(".gac-chip-notes");

function draw() {
  const states = parseJson(props.value, []);
  chips.replaceChildren(...states.map((state, index) => h("li", { "data-phase": state.phase },
    h("button", { type: "button", class: "gac-chip", title: t("member.card.of", { name: state.name }), onclick: (event) => window.gac.openMember?.(event.currentTarget, state.name) },
      memberName(state.name, index), h("span", { class: "gac-phase", text: saidParts(state.words) })),
    state.phase === "fetching" && state.progress !== null ? h("i", { class: "gac-progress", style: `width:${(state.progress * 100).toFixed(1)}%` }) : null)));
  const failed = states.filter((state) => state.phase === "failed" && state.detail);
  const noticed = states.filter((state) => state.notice);
  notes.replaceChildren(
    ...failed.map((state) => h("p", { class: "is-error", role: "alert" }, h("b", {}, h("bdi", { text: state.name })), ` ${said(state.detail)}`)),
    ...noticed.map((state) => h("p", {}, h("bdi", { text: state.name }), `: ${state.notice}`)));
}
function tellFacts() {
  window.gac.members = parseJson(props.value, []);
  document.dispatchEvent(new CustomEvent("gac-members"));
}
watch("value", tellFacts);
watch("value", draw);
draw();
tellFacts();
