// One line for each word that a newcomer lacks. An element with data-term="gate" shows it on hover, focus or tap.

const GLOSSARY = {
  gate: "The gate is one member that writes alone while it is sure. Where it is not, the others are asked.",
  ensembled: "Ensembled steps are those at which the other members were asked and all probabilities were averaged.",
  threshold: "Where the gate's likeliest token has less than this probability, the other members are asked.",
  confidence: "The gate's confidence is the probability that it gives to its likeliest next token.",
  winner: "The member that carried a token gave it the largest share of its averaged probability.",
  weight: "How much a member's probabilities count in the average.",
  alignment: "Members cut text into different tokens. Alignment decides which of their tokens count as the same.",
  "forward pass": "One run of a model over new tokens: what an answer costs, whatever machine it runs on.",
  "partial token": "What some member says as one token goes on beyond this one: the members agree on its beginning first.",
  token: "Models write text in tokens: pieces of words, words, or single bytes of a character.",
  end: "Every member's own sign that an answer is over counts as one token, END.",
  "first token": "The time from asking until the first token: mostly the reading of the prompt.",
  digest: "A fingerprint of every token and probability. Equal digests are equal answers, to the last bit.",
  branch: "A new run that repeats this answer up to here, takes another token, and goes on from it.",
};

/** A word that explains itself. */
const term = (name, text = name) => h("button", { type: "button", class: "gac-term", "data-term": name, text });

function explainTerms(tip) {
  const explain = (event) => {
    const at = event.target.closest?.("[data-term]");
    if (at) tip.show(GLOSSARY[at.dataset.term] ?? "", at.getBoundingClientRect());
  };
  const done = (event) => event.target.closest?.("[data-term]") && tip.hide();
  for (const name of ["pointerover", "focusin", "click"]) document.addEventListener(name, explain);
  for (const name of ["pointerout", "focusout"]) document.addEventListener(name, done);
}
