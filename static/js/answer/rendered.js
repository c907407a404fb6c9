// An answer's Markdown as a page shows it. The library only parses: every element is made here, from the list below, and
// every text is a text node. HTML stays text, links and images are their words and addresses, and nothing loads.

import "../../vendor/markdown-it.min.js";
import { copyBy } from "../page/browser.js";
import { h } from "../page/elements.js";
import { t } from "../page/words.js";

const RENDER_MS = 250; // between two renderings of an answer that is being written
const MARKDOWN = globalThis.markdownit({ html: false, linkify: false });
const TAGS = new Set(["p", "ul", "ol", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "em", "strong", "s"]);
const NESTED = { th: { scope: "col" }, p: { dir: "auto" }, li: { dir: "auto" }, td: { dir: "auto" } };
const LOWEST_HEADING = 6, CARD_HEADING = 3;

export class Rendered {
  constructor(label) {
    this.root = h("div", { class: "gac-rendered", tabindex: "0", role: "group", "aria-label": t("answer.rendered", { name: label }) });
    Object.assign(this, { blocks: [], text: "", at: 0, timer: 0 });
  }

  /** Show `text`: at once where `isNow`, else soon. */
  show(text, isNow = false) {
    if (text === this.text) return;
    const wait = isNow ? 0 : this.at + RENDER_MS - performance.now();
    clearTimeout(this.timer);
    if (wait > 0) this.timer = setTimeout(() => this.render(text), wait);
    else this.render(text);
  }

  /** Blocks that are as they were stay: their elements, and what is selected in them. */
  render(text) {
    Object.assign(this, { text, at: performance.now() });
    const blocks = blocksOf(text), same = blocks.findIndex((block, index) => block.key !== this.blocks[index]?.key);
    const kept = same < 0 ? blocks.length : same;
    for (const block of this.blocks.slice(kept)) block.element.remove();
    this.blocks = [...this.blocks.slice(0, kept), ...blocks.slice(kept)];
    for (const block of this.blocks.slice(kept)) this.root.append(block.element = build(block.tokens));
  }
}

/** The top-level blocks of a text: {key, tokens}. Equal keys look alike. */
function blocksOf(text) {
  const lines = text.split(/\r\n?|\n/u), blocks = [], headings = [];
  let tokens = [];
  for (const token of MARKDOWN.parse(text, {})) {
    if (token.type === "heading_open") token.rank = rankOf(Number(token.tag[1]), headings);
    tokens.push(token);
    if (token.level > 0 || token.nesting > 0) continue;
    const [from, to] = tokens[0].map ?? [0, 0];
    blocks.push({ key: `${tokens[0].rank ?? ""} ${lines.slice(from, to).join("\n")}`, tokens });
    tokens = [];
  }
  return blocks;
}

/** A heading's rank in the page: below the card's own, and none is left out, whatever the model wrote. */
function rankOf(written, headings) {
  while (headings.length && headings.at(-1) >= written) headings.pop();
  headings.push(written);
  return Math.min(LOWEST_HEADING, CARD_HEADING + headings.length);
}

/** The element of one block. */
function build(tokens) {
  const root = h("div"), open = [root];
  const add = (...parts) => open.at(-1).append(...parts);
  for (const token of tokens) {
    if (token.nesting < 0) open.pop();
    else if (token.nesting > 0) {
      const element = elementOf(token);
      add(element);
      open.push(element);
    } else if (token.type === "inline") {
      add(inline(token.children));
    } else if (token.type === "fence" || token.type === "code_block") {
      add(codeBlock(token.content, token.info.trim().split(/\s/u)[0]));
    } else if (token.type === "hr") {
      add(h("hr"));
    } else {
      add(token.content);
    }
  }
  return root;
}

function elementOf(token) {
  if (token.rank) return h(`h${token.rank}`, { class: `gac-heading-${token.tag[1]}`, dir: "auto" });
  const tag = TAGS.has(token.tag) ? token.tag : "span";
  if (token.hidden) return h("span", { dir: "auto" }); // the paragraph of a tight list's item
  const align = /^text-align:(left|right|center)$/u.exec(token.attrGet("style") ?? "")?.[1];
  const start = tag === "ol" && /^\d{1,9}$/u.test(String(token.attrGet("start") ?? "")) ? token.attrGet("start") : null;
  return h(tag, { ...NESTED[tag], start, style: align ? `text-align:${align}` : null, tabindex: tag === "table" ? "0" : null });
}

function inline(tokens) {
  const root = document.createDocumentFragment(), open = [root], addresses = [];
  const add = (part) => open.at(-1).append(part);
  for (const token of tokens) {
    if (token.type === "text" || token.type === "text_special") add(token.content);
    else if (token.type === "softbreak") add("\n");
    else if (token.type === "hardbreak") add(h("br"));
    else if (token.type === "code_inline") add(h("code", { text: token.content }));
    else if (token.type === "image") add(h("span", { class: "gac-address", text: `[${t("rendered.image", { alt: token.content })}] (${token.attrGet("src")})` }));
    else if (token.type === "link_open") addresses.push({ address: token.attrGet("href"), isShown: token.markup === "autolink" });
    else if (token.type === "link_close") {
      const { address, isShown } = addresses.pop();
      if (!isShown) add(h("span", { class: "gac-address", text: ` (${address})` }));
    } else if (token.nesting > 0) {
      const element = h(TAGS.has(token.tag) ? token.tag : "span");
      add(element);
      open.push(element);
    } else if (token.nesting < 0) open.pop();
    else add(token.content);
  }
  return root;
}

function codeBlock(text, language) {
  const copy = h("button", { type: "button", class: "gac-icon", text: t("copy"), "aria-label": t("rendered.copy"), onclick: () => copyBy(copy, text, t("copy")) });
  return h("div", { class: "gac-code" }, h("div", { class: "gac-code-head" }, h("span", { text: language || t("rendered.code") }), copy),
    h("pre", { tabindex: "0", dir: "ltr" }, h("code", { text })));
}
