// One line for each word that a newcomer lacks, of the table's keys "glossary...". An element with data-term="gate" shows
// it on hover, focus or tap.

function explainTerms(tip) {
  const explain = (event) => {
    const at = event.target.closest?.("[data-term]");
    if (at) tip.show(t(`glossary.${at.dataset.term}`), at.getBoundingClientRect());
  };
  const done = (event) => event.target.closest?.("[data-term]") && tip.hide();
  for (const name of ["pointerover", "focusin", "click"]) document.addEventListener(name, explain);
  for (const name of ["pointerout", "focusout"]) document.addEventListener(name, done);
}
