// Under the prompt: the button that opens the settings, the line that sums them up, and what would fit the members better.

import { said, saidShort } from "../page/words.js";
import { onMeaning, openSettings } from "./settings.js";

export function start({ element }) {
  const button = element.querySelector(".gac-summary"), text = element.querySelector(".gac-summary-text");
  button.addEventListener("click", () => openSettings(button));
  onMeaning(({ summary, advice, faults }) => {
    text.textContent = saidShort(summary);
    text.classList.toggle("is-error", Object.keys(faults).length > 0);
    const line = document.querySelector(".gac-advice");
    line.textContent = said(advice);
    line.hidden = !advice;
  });
}
