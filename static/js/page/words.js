// The page's words: static/words has them by keys, a file for each language. README.md says how one is added.

import { h, shortNames } from "./elements.js";

export const TABLES = globalThis.gradio_config?.i18n_translations ?? {};
export const LANGUAGE = [navigator.language, navigator.language.split("-")[0]].find((name) => name in TABLES) ?? "en";
export const LOCALE = navigator.language.startsWith(LANGUAGE) ? navigator.language : LANGUAGE; // how numbers and dates are written
const PERCENT = (0).toLocaleString(LOCALE, { style: "percent" }).slice(1); // "%", or a space before it
const FIGURES = /^[-+(\s]*\d[-+\d.,%():\s]*$/u; // figures alone, such as 8,000 or 0.2 : 0.8 or 12.5 %
const PLURAL = new Intl.PluralRules(LANGUAGE);
const MARKUP = /\*\*(.+?)\*\*|\*(.+?)\*|`(.+?)`|\[(.+?)\]\((.+?)\)([,.;:]?)|\{(\w+)\}/gu;

/** The words of a key; of those with a number `n`, the form that the language has for it. */
function phrase(key, { n } = {}) {
  const forms = n === undefined ? [key] : [`${key}.${PLURAL.select(n)}`, `${key}.other`, key];
  for (const table of [TABLES[LANGUAGE], TABLES.en]) for (const form of forms) if (table?.[form] !== undefined) return table[form];
  return key;
}

const written = (value) => (typeof value === "number" ? value.toLocaleString(LOCALE) : value);

/** The words of a key as a text, `{name}` replaced by what `values` hold under that name. */
export function t(key, values = {}) {
  return phrase(key, values).replace(/\{(\w+)\}/gu, (slot, name) => written(values[name]) ?? slot);
}

/** The same as nodes: values may be nodes, and **strong**, *stressed*, `code`, [word](term:gate), [Enter](kbd) and
 * [word](address) are elements. */
export function rich(key, values = {}) {
  const words = phrase(key, values), parts = [];
  let at = 0;
  for (const found of words.matchAll(MARKUP)) {
    const [, strong, stressed, code, text, kind, sign, slot] = found;
    parts.push(words.slice(at, found.index), slot ? written(values[slot]) ?? "" : strong ? h("b", { text: strong }) : stressed ? h("em", { text: stressed })
      : code ? h("code", { text: code }) : marked(text, kind, sign));
    at = found.index + found[0].length;
  }
  return [...parts.flat(), words.slice(at)].filter((part) => part !== "");
}

/** A word that is a key, a link or a button; a button stays with the sign after it, which would else begin a line. */
function marked(text, kind, sign) {
  if (kind === "kbd") return [h("kbd", { text }), sign];
  if (!kind.startsWith("term:")) return [h("a", { href: kind, target: "_blank", rel: "noopener noreferrer", text }), sign];
  const word = term(kind.slice(5), text);
  return sign ? h("span", { class: "gac-with-sign" }, word, sign) : word;
}

/** Fill a template: `data-t="key"` gives an element its words, `data-t-at="title:key aria-label:key"` its attributes. */
export function translate(root) {
  for (const part of root.querySelectorAll("[data-t]")) part.replaceChildren(...rich(part.dataset.t));
  for (const part of root.querySelectorAll("[data-t-at]")) {
    for (const pair of part.dataset.tAt.split(" ")) part.setAttribute(pair.split(":")[0], t(pair.split(":")[1]));
  }
}

const SERVER = TABLES[LANGUAGE]?.server ?? {};

/** What the server says, in this language: a text, or an English template with the values that fill it. */
export function said(what) {
  if (!what) return "";
  const { template = what, values = {} } = what, words = Object.hasOwn(SERVER, template) ? SERVER[template] : template;
  return words.replace(/\{(\w+)\}/gu, (slot, name) => (Object.hasOwn(values, name) ? filled(values[name]) : slot));
}

/** What stands in a sentence: figures, another phrase, or a name, which stays as it is. */
const filled = (value) => (value.template === undefined ? figures(value) : said(value));

/** What stands in a cell of the server: a figure, or words. */
export const saidValue = (what) => (FIGURES.test(what) ? figures(what) : said(what));

/** English figures alone, such as 8,000, in this language. */
function figures(text) {
  return FIGURES.test(text) ? text.replace(/\d[\d,]*(?:\.\d+)?/gu, (digits) => localNumber(digits)).replace(/(?<=\d)%/gu, PERCENT) : text;
}

/** An English number such as 8,000.50 in this language, with all its digits; one without a comma, such as a seed, stays so. */
function localNumber(digits) {
  const decimals = digits.split(".")[1]?.length ?? 0;
  return Number(digits.replaceAll(",", "")).toLocaleString(LOCALE, { minimumFractionDigits: decimals, maximumFractionDigits: Math.max(decimals, 20), useGrouping: digits.includes(",") });
}

/** The same with short names of members. */
export const saidShort = (what) => shortNames(said(what));

/** A word that explains itself by a line of the keys "glossary...". */
export const term = (name, text) => h("button", { type: "button", class: "gac-term", "data-term": name, "aria-description": t(`glossary.${name}`), text });
