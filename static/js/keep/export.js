// A run as a text and as a page of its own. The page is built as elements from text nodes and then serialised, so that
// what models wrote is escaped by the browser. It holds no script and loads nothing.

import { KINDS_OF_VIEW, namesOf } from "../answer/painter.js";
import { BESIDE } from "../answer/stream.js";
import { AnswerText } from "../answer/text.js";
import { branchWords } from "../compare/asked.js";
import { EXPORT_STYLE } from "./export_style.js";
import { h } from "../page/elements.js";
import { percent, seconds } from "../page/numbers.js";
import { saidShort, t } from "../page/words.js";

const titlesOf = (board) => board.cards.map(({ label }) => label);

/** Prompt and answers as Markdown: answers as they were written, which mostly is Markdown.
 *
 * `turns`: those before the run that are kept with it, here and below: {prompt, answers, cut}, the last two by stream.
 */
export function markdownOf(board, turns = []) {
  const { run, streams } = board, names = titlesOf(board);
  const answers = streams.map((stream, index) => answerIn(names[index], stream.text, figuresOf(stream)));
  const earlier = turns.map((turn) => [askedIn(turn.prompt), ...answersOf(turn).map(({ name, text, cut }) => answerIn(name, text, cut)), "---\n\n"].join("\n\n"));
  return `${earlier.join("")}${askedIn(run.prompt)}\n\n*${originOf(run).join("*\n\n*")}*\n\n${answers.join("\n\n")}\n`;
}

const askedIn = (prompt) => prompt.split("\n").map((line) => `> ${line}`).join("\n");
const answerIn = (name, text, figures) => [`## ${name}`, text.trim() || t("no-text"), figures && `*${figures}*`].filter(Boolean).join("\n\n");

/** An earlier turn's answers: {name, text, cut}. */
const answersOf = ({ answers, cut }) => Object.entries(answers).map(([key, text]) =>
  ({ name: key === "ensemble" ? t("ensemble") : key.replace(/^member:/u, ""), text, cut: cutWords(cut[key]) }));

/** That an answer did not end by itself. */
const CUT = { length: "arena.cut", abort: "run.aborted", error: "run.failed" };
const cutWords = (reason) => (CUT[reason] ? t(CUT[reason]).replace(/\.$/u, "") : "");

/** Its settings, and what it comes from. */
const originOf = (run) => [saidShort(run.settings), ...(run.branch_position !== null ? [branchWords(run)] : [])];

function figuresOf({ tokens, numGated, member, end }) {
  const parts = [t("count.tokens", { n: tokens.length })];
  if (member < 0 && tokens.length) parts.push(t("export.ensembled", { share: percent(numGated / tokens.length) }));
  if (end) parts.push(cutWords(end.reason), seconds(end.seconds), end.digest ? t("card.digest", { digits: end.digest.slice(0, 16) }) : "");
  return parts.filter(Boolean).join(" · ");
}

/** The run as it is looked at: in the view that is chosen; the turns before it without marks. */
function articleOf(board, turns) {
  const { run, cards, root } = board, view = root.dataset.view, names = titlesOf(board);
  return h("article", { class: "run" }, ...turns.map(turnCopy),
    h("header", {}, h("h1", { dir: "auto", text: run.prompt }), ...originOf(run).map((text) => h("p", { text }))),
    h("p", { class: "legend", text: t(`export.legend.${view}`) }),
    h("div", { class: "answers" }, ...cards.map((card, index) => h("section", { class: index ? "answer" : "answer ensemble" },
      h("h2", {}, card.stream.member < 0 ? null : h("i", { class: `swatch w${card.stream.member % 6}` }), h("bdi", { text: names[index] })),
      h("p", { class: "figures", text: figuresOf(card.stream) }),
      markedCopy(card, view, run)))),
    h("footer", { text: document.title }));
}

const turnCopy = (turn) => h("div", { class: "turn" },
  h("header", {}, h("h1", { dir: "auto", text: turn.prompt })),
  h("div", { class: "answers" }, ...answersOf(turn).map(({ name, text, cut }, index) => h("section", { class: index ? "answer" : "answer ensemble" },
    h("h2", {}, h("bdi", { text: name })), cut ? h("p", { class: "figures", text: cut }) : null,
    plainCopy(text)))));

/** An answer as it is shown, what looks alike as one span; marks end where characters do, so that none is cut. */
function markedCopy(card, view, run) {
  const { marks, text, isEnsemble } = card.tokens, isSwapped = ({ tokens }) => run.swap && card.stream.key !== BESIDE && tokens.some(({ index }) => index === run.branch_position);
  const spans = new Map(); // by text node
  for (const mark of marks.all) {
    const names = namesOf(mark, isEnsemble), look = [...KINDS_OF_VIEW[view].map((kind) => names[kind]), isSwapped(mark) && "swapped"].filter(Boolean).join(" ");
    for (const { node, from, to } of text.shown(mark.start, mark.end)) {
      const own = spans.get(node) ?? [], part = node.data.slice(from, to);
      spans.set(node, own);
      if (own.at(-1)?.className === look) own.at(-1).append(part);
      else own.push(h("span", { class: look, text: part }));
    }
  }
  const copy = text.root.cloneNode(true), copies = textNodes(copy);
  textNodes(text.root).forEach((node, index) => { if (spans.has(node)) copies[index].replaceWith(...spans.get(node)); });
  return asPaper(copy);
}

function textNodes(root) {
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT), nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  return nodes;
}

/** An answer's elements without what acts. */
function asPaper(root) {
  for (const part of root.querySelectorAll("button, .gac-end")) part.remove();
  for (const part of [root, ...root.querySelectorAll("[tabindex]")]) for (const name of ["tabindex", "role", "aria-label"]) part.removeAttribute(name);
  root.className = "text";
  return root;
}

function plainCopy(text) {
  const shown = new AnswerText(h("div"));
  shown.append(text, true);
  while (shown.isBehind) shown.write();
  return asPaper(shown.root);
}

export function pageOf(board, turns = []) {
  const page = document.implementation.createHTMLDocument(board.run.prompt.slice(0, 120));
  page.head.prepend(h("meta", { charset: "utf-8" }), h("meta", { "http-equiv": "Content-Security-Policy", content: "default-src 'none'; style-src 'unsafe-inline'" }),
    h("meta", { name: "viewport", content: "width=device-width" }));
  page.head.append(h("style", { text: EXPORT_STYLE }));
  page.body.append(articleOf(board, turns));
  return asXml(page);
}

/** Elements written out; what no XML may hold is replaced. */
const asXml = (node) => new XMLSerializer().serializeToString(node).replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/gu, "\ufffd");
