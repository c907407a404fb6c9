// What an answer's Markdown looks like, by parts: {tag, attrs, parts} is an element, {text, at} a text. `at` is the text's
// place in the answer, of which it is a copy, unless it has a `length` there; what the page adds has none. No part is a link, an image or HTML: these are
// shown as they are written.

import "../../vendor/lezer-markdown.min.js";
import { copyBy } from "../page/browser.js";
import { t } from "../page/words.js";

const LEZER = globalThis.lezerMarkdown;
const MARKDOWN = LEZER.parser.configure([LEZER.Strikethrough, LEZER.Table, {
  remove: ["HTMLBlock", "HTMLTag", "LinkReference"],
  // The parser's time grows with the squares of a paragraph's length and of a line's depth: beyond a limit nothing is looked for.
  parseInline: [{ name: "Long", before: "Escape", parse: (paragraph) => (paragraph.end - paragraph.offset > MAX_PARAGRAPH ? paragraph.end : -1) }],
  parseBlock: [{ name: "Deep", before: "IndentedCode", parse: (blocks, line) => blocks.depth > 2 * MAX_DEPTH && asParagraph(blocks, line) }],
}]);
const TAGS = {
  Paragraph: "p", Blockquote: "blockquote", BulletList: "ul", OrderedList: "ol", ListItem: "li", HorizontalRule: "hr",
  Emphasis: "em", StrongEmphasis: "strong", Strikethrough: "s", InlineCode: "code",
};
const HOLD_BLOCKS = new Set(["Blockquote", "BulletList", "OrderedList", "ListItem"]); // and no text between them
const FENCED = /^ {0,3}(?:`{3,}[^`\n]*(?:\n|$)|~{3})/u;
const MAX_BLOCK = 20_000, MAX_PARAGRAPH = 4_000, MAX_CELLS = 1_500, MAX_DEPTH = 24; // what is more is shown as it is written
const LOWEST_HEADING = 6, CARD_HEADING = 3;

/** The top-level blocks of `source`, which begins at `start` of an answer, after headings of `ranks`: {at, ranks, part}. No
 * more than the last of them changes when an answer goes on. */
export function blocksOf(source, start, ranks) {
  const reader = new Reader(source, start, ranks), blocks = [];
  if (source.length > MAX_BLOCK && !FENCED.test(source)) return [{ at: start, ranks, part: reader.asWritten({ from: 0, to: source.length }) }];
  for (let node = MARKDOWN.parse(source).topNode.firstChild; node; node = node.nextSibling) {
    blocks.push({ at: start + source.lastIndexOf("\n", node.from - 1) + 1, ranks: [...reader.ranks], part: reader.parts(node, 0)[0] });
  }
  return blocks;
}

class Reader {
  constructor(source, start, ranks) {
    Object.assign(this, { source, start, ranks: [...ranks] });
  }

  text(from, to) {
    return { text: this.source.slice(from, to), at: this.start + from };
  }

  asWritten({ from, to }) {
    return element("p", { class: "gac-as-written", dir: "auto" }, [this.text(from, to)]);
  }

  parts(node, depth) {
    const { name } = node;
    if (depth > MAX_DEPTH) return [HOLD_BLOCKS.has(name) ? this.asWritten(node) : this.text(node.from, node.to)];
    const read = READERS[name];
    if (read) return read(this, node, depth);
    if (name.endsWith("Mark")) return [];
    const heading = /^(?:ATX|Setext)Heading(\d)$/u.exec(name)?.[1];
    if (heading) return [element(`h${this.rankOf(Number(heading))}`, { class: `gac-heading-${heading}`, dir: "auto" }, this.within(node, depth))];
    const tag = TAGS[name], attrs = { p: { dir: "auto" }, li: { dir: "auto" } }[tag] ?? {};
    if (name === "OrderedList") attrs.start = parseInt(this.source.slice(node.from, node.from + 9), 10);
    return tag ? [element(tag, attrs, name === "ListItem" ? this.item(node, depth) : this.within(node, depth))] : [this.text(node.from, node.to)];
  }

  /** What is in a node, and the text in between. */
  within(node, depth, from = node.from, to = node.to) {
    const parts = [], add = (start, end) => start < end && !HOLD_BLOCKS.has(node.name) && parts.push(this.text(start, end));
    let at = from;
    for (let child = node.childAfter(from); child && child.to <= to; child = child.nextSibling) {
      add(at, child.from);
      parts.push(...this.parts(child, depth + 1));
      at = child.to;
    }
    add(at, to);
    return parts;
  }

  /** What is in a list's item, whose first paragraph needs no element. */
  item(node, depth) {
    const parts = this.within(node, depth), [first] = parts;
    return first?.tag === "p" ? [...first.parts, ...parts.slice(1)] : parts;
  }

  /** A heading's rank in the page: below the card's own, and none is left out, whatever the model wrote. */
  rankOf(written) {
    const { ranks } = this;
    while (ranks.length && ranks.at(-1) >= written) ranks.pop();
    ranks.push(written);
    return Math.min(LOWEST_HEADING, CARD_HEADING + ranks.length);
  }

  /** A link's words and its address; without an address there is no link. */
  link(node, depth) {
    const [open, close, address] = node.getChildren("LinkMark");
    if (!node.getChild("URL")) return [this.text(node.from, open.to), ...this.within(node, depth, open.to, close.from), this.text(close.from, node.to)];
    return [...this.within(node, depth, open.to, close.from), element("span", { class: "gac-address" }, [this.text(address.from, node.to)])];
  }

  code(node) {
    const info = node.getChild("CodeInfo"), label = info ? this.text(info.from, info.to) : { text: t("rendered.code") };
    const copy = element("button", { type: "button", class: "gac-icon", "aria-label": t("rendered.copy"), onclick: copyCode }, [{ text: t("copy") }]);
    const lines = node.getChildren("CodeText").map(({ from, to }) => this.text(from, to));
    return [element("div", { class: "gac-code" }, [
      element("div", { class: "gac-code-head" }, [element("span", {}, [label]), copy]), element("pre", { dir: "ltr" }, [element("code", {}, lines)])])];
  }

  table(node, depth) {
    const [line] = node.getChildren("TableDelimiter"), header = node.getChild("TableHeader"), rows = node.getChildren("TableRow");
    const aligns = this.source.slice(line.from, line.to).replace(/^\s*\||\|\s*$/gu, "").split("|").map(alignOf);
    if (rows.length * aligns.length > MAX_CELLS) return [this.asWritten(node)];
    const row = (of, tag, attrs) => element("tr", {}, this.cells(of, aligns.length).map((cell, column) =>
      element(tag, { ...attrs, dir: "auto", style: aligns[column] }, cell ? this.within(cell, depth) : [])));
    return [element("table", { tabindex: "0" }, [element("thead", {}, [row(header, "th", { scope: "col" })]), element("tbody", {}, rows.map((one) => row(one, "td", {})))])];
  }

  /** A row's cells by column, as many as the table has or more. */
  cells(row, numColumns) {
    const cells = Array(numColumns).fill(null);
    let column = this.source[row.from] === "|" ? -1 : 0;
    for (let child = row.firstChild; child; child = child.nextSibling) {
      if (child.name === "TableDelimiter") column += 1;
      else cells[column] = child;
    }
    return [...cells];
  }
}

const ENTITIES = Object.fromEntries(Object.entries({ "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&nbsp;": "\u00a0" })
  .map(([written, text]) => [written, { text, length: written.length }]));

const READERS = {
  Link: (reader, node, depth) => reader.link(node, depth),
  FencedCode: (reader, node) => reader.code(node),
  CodeBlock: (reader, node) => reader.code(node),
  Table: (reader, node, depth) => reader.table(node, depth),
  Autolink: (reader, node) => [reader.text(node.from + 1, node.to - 1)],
  Escape: (reader, node) => [reader.text(node.from + 1, node.to)],
  HardBreak: (reader, node) => [reader.text(node.to - 1, node.to)],
  Entity: (reader, node) => [{ ...reader.text(node.from, node.to), ...ENTITIES[reader.source.slice(node.from, node.to)] }],
  Image: (reader, node) => [element("span", { class: "gac-address" }, [reader.text(node.from, node.to)])],
};

function asParagraph(blocks, line) {
  blocks.addElement(blocks.elt("Paragraph", blocks.lineStart + line.pos, blocks.lineStart + line.text.length));
  blocks.nextLine();
  return true;
}

const element = (tag, attrs, parts) => ({ tag, attrs, parts });

const ALIGNS = [null, "text-align:left", "text-align:right", "text-align:center"];
const alignOf = (line) => ALIGNS[line.trim().startsWith(":") + 2 * line.trim().endsWith(":")];

function copyCode({ currentTarget: button }) {
  copyBy(button, button.closest(".gac-code").querySelector("code").textContent, t("copy"));
}
