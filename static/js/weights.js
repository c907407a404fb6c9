// The members' weights at one step as a bar, and what moves them.

const WEIGHTS_FOLLOW = {
  text: "They follow who foretold this text best so far.",
  stretch: "Until the members' tokens end together again, who foretold the beginning best counts more.",
};

function weightsAt(step, memberIndex) {
  const words = step.members.map((member) => `${member.name} ${probability(member.weight)}`).join(", ");
  const bar = h("div", { class: "gac-weights", role: "img", "aria-label": `Weights: ${words}`, title: words },
    ...step.members.map((member) => h("i", { "data-w": memberIndex(member.name), style: `width:${(member.weight * 100).toFixed(2)}%` })));
  const why = WEIGHTS_FOLLOW[step.weights_follow];
  return [h("h4", {}, h("span", {}, term("weight", "Weights"), " at this step")), bar, why ? h("p", { class: "gac-small", text: why }) : null];
}
