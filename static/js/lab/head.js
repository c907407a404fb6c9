// The head of the result that is looked at: what it is, what follows from it, and its files.

import { drew, titleOf } from "./lab.js";
import { comparedVerdict } from "../answer/verdict.js";
import { answerTo, download, parseJson, visitorKey } from "../page/browser.js";
import { h, shortName } from "../page/elements.js";
import { moment } from "../page/numbers.js";
import { LANGUAGE, said, saidShort, t } from "../page/words.js";

const PNG_SCALE = 2;

export function start({ element, props, server, watch }) {
  const root = element.querySelector(".gac-lab-head");
  const draw = () => {
    const result = parseJson(props.value, null);
    root.hidden = !result;
    root.replaceChildren(...(!result ? [] : result.error ? [h("p", { class: "is-error", role: "alert", text: said(result.error) })] : headOf(result, server)));
    if (!result || result.error) return;
    drew(result.id);
    root.focus({ preventScroll: true });
    root.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  };
  watch("value", draw);
  draw();
}

function headOf(result, server) {
  const note = h("p", { class: "is-error", role: "alert" }), title = titleOf(result);
  return [
    h("header", {},
      h("h2", { text: result.name || title }),
      h("p", { class: "gac-small", text: [result.name ? title : null, moment(result.created_at), result.members.map(shortName).join(", ")].filter(Boolean).join(" · ") }),
      h("div", { class: "gac-lab-exports" }, ...exportsOf(result, note, server))),
    note,
    h("p", { class: "gac-outcome", text: verdictOf(result) }),
    ...result.remarks.map((remark) => h("p", { text: said(remark) })),
    result.settings ? h("pre", { class: "gac-lab-settings", tabindex: "0", "aria-label": t("lab.settings"), text: result.settings }) : "",
    result.has_plot ? h("p", { class: "gac-small gac-by-mouse", text: t("lab.charts") }) : "",
  ];
}

/** How the best ensemble did against the best member alone; "" where the study has its own. `right`: of each question,
 * which of `systems` were. */
function verdictOf({ right, systems, members }) {
  const num = (at) => right.filter((of) => of[at]).length, best = (of) => of.toSorted((one, other) => num(other) - num(one))[0];
  const isAlone = (at) => memberIn(systems[at], members) >= 0, all = systems.map((_, at) => at);
  const system = best(all.filter((at) => !isAlone(at))), rival = best(all.filter(isAlone));
  if (system === undefined || rival === undefined) return "";
  const only = (one, other) => right.filter((of) => of[one] && !of[other]).length, n = right.length, tried = all.filter((at) => !isAlone(at)).length;
  const told = comparedVerdict({ rival: saidShort(systems[rival]), wins: only(system, rival), losses: only(rival, system), n, what: t("rank.questions.n", { n }), tried });
  return `${saidShort(systems[system])}: ${told}`;
}

/** The member that a system is, also with a wrong beginning. */
export function memberIn(name, members) {
  const { template, values } = name.values?.part0 ?? name;
  return members.indexOf(template === "{name} alone" ? values.name : name);
}

function exportsOf(result, note, server) {
  const button = (text, make) => h("button", { type: "button", class: "gac-button", text, "aria-label": t("lab.export", { format: text }), onclick: make });
  const saveText = (ending, type, text) => () => download(new Blob([text], { type }), `${result.id}.${ending}`);
  const picture = (finish) => async () => {
    const reply = await answerTo(server.lab_picture({ key: visitorKey(), result: result.id, said_in: LANGUAGE }));
    note.textContent = said(reply.error);
    if (!reply.error) finish(reply.svg);
  };
  return [
    button("CSV", saveText("csv", "text/csv", result.csv)),
    button("JSON", saveText("json", "application/json", result.json)),
    ...(result.has_plot ? [
      button("SVG", picture((svg) => saveText("svg", "image/svg+xml", svg)())),
      button("PNG", picture((svg) => savePng(`${result.id}.png`, svg))),
    ] : []),
  ];
}

/** An image runs no script, whatever stands in the picture. */
function savePng(name, svg) {
  const image = new Image();
  image.onload = () => {
    const canvas = h("canvas", { width: image.naturalWidth * PNG_SCALE, height: image.naturalHeight * PNG_SCALE });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => download(blob, name), "image/png");
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
}
