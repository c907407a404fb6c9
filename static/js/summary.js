// Under the prompt: the button that opens the settings, the line that sums them up, and what would fit the members better.

const button = element.querySelector(".gac-summary"), text = element.querySelector(".gac-summary-text");
button.addEventListener("click", () => window.gac.openSettings?.(button));

window.gac.tellSummary = ({ summary, advice, faults }) => {
  text.textContent = saidParts(summary);
  text.classList.toggle("is-error", Object.keys(faults).length > 0);
  const line = document.querySelector(".gac-advice");
  line.textContent = said(advice);
  line.hidden = !advice;
};
window.gac.checkSettings?.();
