// The figures of the result that is looked at, what its names mean, and every question with all answers.

import { parseJson } from "../page/browser.js";
import { memberIn } from "./head.js";
import { h } from "../page/elements.js";
import { rich, said, saidValue, t } from "../page/words.js";

let asked = "";

/** The question that is to be asked on Compare. */
export const askedInLab = () => asked;

export function start({ element, props, trigger, watch }) {
  const root = element.querySelector(".gac-lab-body");
  const ask = (prompt) => {
    asked = prompt;
    trigger("ask");
  };
  const draw = () => {
    const result = parseJson(props.value, null);
    root.hidden = !result;
    root.replaceChildren(...(result ? bodyOf(result, ask) : []));
  };
  watch("value", draw);
  draw();
}

function bodyOf(result, ask) {
  return [
    ...result.tables.map((found) => table(found, result.members)),
    result.words.length ? h("details", { class: "gac-lab-words" }, h("summary", { text: t("lab.names") }),
      h("dl", {}, ...result.words.map(([name, about]) => h("div", {}, h("dt", { text: said(name) }), h("dd", { text: said(about) }))))) : null,
    result.asked.length ? questionsOf(result, ask) : null,
  ].filter(Boolean);
}

function table({ title, columns, rows }, members) {
  return h("div", { class: "gac-lab-table", tabindex: "0", role: "region", "aria-label": said(title) || t("lab.table") }, h("table", {},
    title ? h("caption", { text: said(title) }) : null,
    h("thead", {}, h("tr", {}, ...columns.map((text) => h("th", { scope: "col", text: said(text) })))),
    h("tbody", {}, ...rows.map(([first, ...others]) => h("tr", {},
      h("th", { scope: "row" }, systemName(first, members)), ...others.map((text) => h("td", { text: saidValue(text) })))))));
}

/** A member alone has its colour of the page. */
function systemName(name, members) {
  const index = memberIn(name, members);
  return h("span", { class: "gac-name" }, index < 0 ? null : h("i", { class: "gac-swatch", "data-w": index % 6 }), h("bdi", { text: said(name) }));
}

function questionsOf({ asked, members }, ask) {
  const isMixed = ({ answers }) => new Set(answers.map((answer) => answer.is_right)).size > 1;
  const list = h("ol", { class: "gac-lab-questions" });
  const show = (onlyMixed) => list.replaceChildren(...asked.filter((one) => !onlyMixed || isMixed(one)).map((one) => question(one, members, ask)));
  show(false);
  return h("section", { class: "gac-lab-asked", "aria-labelledby": "gac-lab-asked-title" },
    h("h3", { id: "gac-lab-asked-title", text: t("lab.every-answer", { count: asked.length }) }),
    h("label", { class: "gac-lab-mixed" }, h("input", { type: "checkbox", onchange: (event) => show(event.target.checked) }), t("lab.mixed")),
    list);
}

function question({ prompt, accepted, answers }, members, ask) {
  const numRight = answers.filter((answer) => answer.is_right).length;
  const details = h("details", {},
    h("summary", {}, h("span", { dir: "auto", text: prompt.split("\n")[0] }), h("span", { class: "gac-small", text: t("lab.num-right", { right: numRight, all: answers.length }) })));
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    details.append(
      h("p", { class: "gac-lab-prompt", dir: "auto", text: prompt }),
      h("p", { class: "gac-small" }, ...rich("lab.accepted", { accepted: h("bdi", { text: accepted }) })),
      h("ul", { class: "gac-lab-answers" }, ...answers.map((answer) => h("li", { class: answer.is_right ? "is-right" : "is-wrong" },
        systemName(answer.system, members),
        h("b", { text: t(answer.error ? "run.failed" : answer.is_right ? "lab.right" : "lab.wrong") }),
        h("span", { class: "gac-lab-answer-text", dir: "auto", text: said(answer.error) || answer.text.trim() || answer.prediction })))),
      h("button", { type: "button", class: "gac-button", text: t("lab.ask"), onclick: () => ask(prompt) }));
  });
  return h("li", {}, details);
}
