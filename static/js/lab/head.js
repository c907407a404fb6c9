// The head of the result that is looked at: what it is, what follows from it, and its files.

import { titleOf } from "./lab.js";
import { comparedVerdict } from "../answer/verdict.js";
import { answerTo, download, parseJson, visitorKey } from "../page/browser.js";
import { h, shortName, shortNames } from "../page/elements.js";
import { moment } from "../page/numbers.js";
import { LANGUAGE, said, t } from "../page/words.js";

const PNG_SCALE = 2;

export function start({ element, props, server, watch }) {
  const root = element.querySelector(".gac-lab-head");
  const draw = () => {
    const result = parseJson(props.value, null);
    root.hidden = !result;
    root.replaceChildren(...(!result ? [] : result.error ? [h("p", { class: "is-error", role: "alert", text: said(result.error) })] : headOf(result, server)));
    if (!result || result.error) return;
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

/** How the best ensemble did against the best member alone, where both answered; "" else. `right`: of each question, who
 * was right. */
function verdictOf({ right, members }) {
  const names = Object.keys(right[0] ?? {}), num = (name) => right.filter((of) => of[name]).length;
  const best = (of) => of.toSorted((one, other) => num(other) - num(one))[0];
  const ensembles = names.filter((name) => memberIn(name, members) < 0), system = best(ensembles), rival = best(names.filter((name) => !ensembles.includes(name)));
  if (!system || !rival) return "";
  const only = (one, other) => right.filter((of) => of[one] && !of[other]).length, n = right.length;
  const told = comparedVerdict({ rival: shortNames(said(rival)), wins: only(system, rival), losses: only(rival, system), n, what: t("rank.questions.n", { n }), tried: ensembles.length });
  return `${shortNames(said(system))}: ${told}`;
}

export const memberIn = (name, members) => members.findIndex((member) => name === member || name.startsWith(`${member} alone`));

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
