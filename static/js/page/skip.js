// Links for the keyboard: from the beginning of the page to the prompt or what a tab shows, and from the prompt to the answers.

const toAnswers = () => document.querySelector(".gac-ensemble .gac-text");
const toContent = () => [document.querySelector("#gac-prompt textarea"), ...document.querySelectorAll("#gac-tabs > [role=tabpanel]")].find((part) => part?.checkVisibility());

export function listenToSkips() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.(".gac-skip");
    if (!link) return;
    event.preventDefault();
    const part = link.classList.contains("gac-to-answers") ? toAnswers() : toContent();
    if (part && part.tabIndex < 0) part.tabIndex = -1; // a panel takes the focus, and is no stop of the Tab key
    part?.focus();
  });
}
