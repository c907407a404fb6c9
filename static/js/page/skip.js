// Links for the keyboard: from the beginning of the page to the prompt or what a tab shows, and from the prompt to the answers.

const toAnswers = () => document.querySelector(".gac-ensemble .gac-text");
const toContent = () => [document.querySelector("#gac-prompt textarea"), ...document.querySelectorAll("#gac-tabs > [role=tabpanel]")].find((part) => part?.checkVisibility());

export function start({ element }) {
  element.querySelector(".gac-skip").addEventListener("click", (event) => go(event, toContent()));
}

export const skipToAnswers = (event) => go(event, toAnswers());

function go(event, part) {
  event.preventDefault();
  if (!part) return;
  if (part.tabIndex < 0) part.tabIndex = -1; // a panel takes the focus, and is no stop of the Tab key
  part.focus();
}
