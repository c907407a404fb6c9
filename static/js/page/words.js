// The page's words: static/words has them by keys, a file for each language. README.md says how one is added.

import { h, shortNames } from "./elements.js";

export const TABLES = globalThis.gradio_config?.i18n_translations ?? {};
export const LANGUAGE = [navigator.language, navigator.language.split("-")[0]].find((name) => name in TABLES) ?? "en";
export const LOCALE = navigator.language.startsWith(LANGUAGE) ? navigator.language : LANGUAGE; // how numbers and dates are written
const COMMAS = /, (?![^(]*\))/u; // between the parts of a name for people, not those in brackets
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

/** What the server says, in English, in this language: found by its words, numbers and names in their places. */
export function said(text) {
  if (!text) return "";
  const whole = saidWhole(text), parts = whole ? [] : text.split(COMMAS).map(saidWhole);
  return whole ?? (parts.length > 1 && parts.every(Boolean) ? parts.join(", ") : text);
}

const SERVER = TABLES[LANGUAGE]?.server ?? {};
const saidExactly = (text) => (Object.hasOwn(SERVER, text) ? SERVER[text] : null);

function saidWhole(text) {
  if (saidExactly(text)) return saidExactly(text);
  saidWhole.patterns ??= Object.entries(SERVER).filter(([english]) => english.includes("{")).map(([english, words]) =>
    [new RegExp(`^${english.replace(/[.*+?^$()|[\]\\]/gu, "\\$&").replace(/\{(\w+)\}/gu, "(?<$1>.+?)")}$`, "su"), words]);
  for (const [pattern, words] of saidWhole.patterns) {
    const values = pattern.exec(text)?.groups;
    if (values) return words.replace(/\{(\w+)\}/gu, (_, name) => saidValue(values[name]));
  }
  return null;
}

/** What stands in a sentence or a cell of the server: its words, a list of them, an English number such as 8,000, or a name. */
export function saidValue(text) {
  if (FIGURES.test(text)) return text.replace(/\d[\d,]*(?:\.\d+)?/gu, (digits) => localNumber(digits)).replace(/(?<=\d)%/gu, PERCENT);
  const parts = text.split(/, | and /u);
  if (parts.length > 1 && parts.every(saidExactly)) return new Intl.ListFormat(LOCALE).format(parts.map(saidExactly));
  return said(text);
}

/** An English number such as 8,000.50 in this language, with all its digits; one without a comma, such as a seed, stays so. */
function localNumber(digits) {
  const decimals = digits.split(".")[1]?.length ?? 0;
  return Number(digits.replaceAll(",", "")).toLocaleString(LOCALE, { minimumFractionDigits: decimals, maximumFractionDigits: Math.max(decimals, 20), useGrouping: digits.includes(",") });
}

const VERB = /^(?:is|are|has|have|was|were|does|do|holds|needs)\b/u, WHOLE = /^(?:the|this|these|an?|another|enter|please|your?)\b/iu;

/** What the server refuses with, as a sentence: it says first which field is wrong, such as "prompts: line 3: is too long". */
export function sentence(text) {
  const told = said(text), [, name, line, rest] = /^([a-z][\w. ]*?): (?:(line \d+): )?(.+)$/su.exec(text ?? "") ?? [];
  if (!name || told !== text) return told && ended(capital(told));
  const field = name === "prompt" ? "The prompt" : capital(name.replaceAll("_", " ")), where = line ? `${field}, ${line}` : field;
  const whole = VERB.test(rest) ? `${where} ${rest}` : WHOLE.test(rest) ? capital(rest) : `${where}: ${rest}`, words = said(whole);
  return words === whole ? ended(whole) : words;
}

const capital = (words) => `${words[0].toUpperCase()}${words.slice(1)}`;
const ended = (words) => (/[.!?…]$/u.test(words) ? words : `${words}.`);

/** A line of parts with dots between, with short names of members. */
export const saidParts = (line) => shortNames((line ?? "").split(" · ").map(said).join(" · "));

/** A word that explains itself: glossary.js has the lines. */
const term = (name, text) => h("button", { type: "button", class: "gac-term", "data-term": name, text });
