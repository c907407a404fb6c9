// The Leaderboard: asks for the standings when it is looked at or a filter changes, and draws them.

import { ratedVerdict } from "../answer/verdict.js";
import { addressed, addressOf, follow, goTo, tell } from "../page/address.js";
import { parseJson, visitorKey } from "../page/browser.js";
import { h } from "../page/elements.js";
import { number, percent, startOf } from "../page/numbers.js";
import { LANGUAGE, LOCALE, said, saidShort, t } from "../page/words.js";

const COSTS = [{ key: "rank.passes", field: "passes_per_token", digits: 2 }, { key: "rank.ms", field: "ms_per_token", digits: 1 }];
const LENGTH = /^(\d+)-(\d+)$/u, AGAIN_MS = 10_000;

let leaderboard = null;

export function start(part) {
  leaderboard = new Leaderboard(part);
  follow("contestant", () => leaderboard.mark());
}

/** The tab is chosen. */
export const showLeaderboard = () => leaderboard?.ask();

class Leaderboard {
  constructor({ element, props, trigger, watch }) {
    const root = element.querySelector(".gac-leaderboard"), form = root.querySelector("form");
    // again: a timer, while votes are still being read; asked, drawn: the number of the last question, and of that whose reply is shown.
    Object.assign(this, { root, form, trigger, again: 0, asked: 0, drawn: 0 });
    form.addEventListener("change", () => this.ask());
    form.addEventListener("submit", (event) => event.preventDefault());
    watch("value", () => this.draw(parseJson(props.value, null)));
  }

  part(name) {
    return this.root.querySelector(`.gac-rank-${name}`);
  }

  ask() {
    const { source, turns, chars, language, config, from, to, own, has_flagged: flagged, controls_style: style } = this.form.elements;
    const [, least, most] = LENGTH.exec(chars.value);
    this.root.setAttribute("aria-busy", "true");
    if (this.part("table").hidden) this.part("note").textContent = t("rank.counting");
    this.trigger("wanted", {
      at: (this.asked += 1), key: visitorKey(), said_in: LANGUAGE, source: source.value, turns: turns.value, min_chars: Number(least), max_chars: Number(most), language: language.value,
      config: config.value, since: startOf(from.value), before: startOf(to.value, 1), own: own.checked, has_flagged: flagged.checked, controls_style: style.checked,
    });
  }

  /** Offer what votes have, and keep the choice. */
  offer(name, values, label = (value) => value) {
    const field = this.form.elements[name], before = field.value, [any] = field.options;
    field.replaceChildren(any, ...values.map((value) => h("option", { value, text: label(value) })));
    field.value = [...field.options].some((option) => option.value === before) ? before : "";
    field.closest("label").hidden = values.length < 2;
  }

  /** Show which contestant the address names. */
  mark() {
    const rows = [...this.root.querySelectorAll("tr[data-name]")], name = addressed("contestant");
    for (const row of rows) if (row.dataset.name === name) row.setAttribute("aria-current", "true"); else row.removeAttribute("aria-current");
    rows.find((row) => row.dataset.name === name)?.scrollIntoView({ block: "nearest" });
  }

  draw(board) {
    if (!board) return;
    const note = this.part("note"), table = this.part("table");
    if (board.error || board.at === this.asked) this.root.removeAttribute("aria-busy");
    if (board.error) {
      note.textContent = said(board.error);
      return;
    }
    if (board.at < this.drawn) return this.ask(); // an earlier reply came later, and Gradio draws its charts
    this.drawn = board.at;
    this.offer("language", board.languages.filter(Boolean), languageName);
    this.offer("config", board.configs);
    const sessions = this.form.elements.source.value === "reference" ? "rank.questions.n" : "rank.sessions.n";
    const counts = [t("rank.votes.n", { n: board.num_votes }), t(sessions, { n: board.num_sessions }), t("rank.ties.n", { n: board.num_ties }), t("rank.bad.n", { n: board.num_both_bad })];
    this.part("verdict").textContent = verdictOf(board);
    note.replaceChildren(...(board.is_reading ? [h("b", { text: t("rank.reading") }), " "] : []), ...(board.problem ? [h("b", { text: said(board.problem) }), " "] : []), counts.join(" · "));
    table.hidden = !board.standings.length;
    table.replaceChildren(standingsOf(board, (name) => { tell({ contestant: name }); this.mark(); }));
    const begin = board.num_votes ? null : h("button", { type: "button", class: "gac-button", text: t("rank.begin"), onclick: () => goTo("arena") });
    this.part("more").replaceChildren(...[begin, busiestOf(board), biasOf(board), effectsOf(board), matrixOf(board)].filter(Boolean));
    this.mark();
    clearTimeout(this.again);
    if (board.is_reading) this.again = setTimeout(() => { if (this.root.offsetParent) this.ask(); }, AGAIN_MS);
  }
}

const UNKNOWN = "und"; // of prompts whose language cannot be told

function languageName(code) {
  if (code === UNKNOWN) return t("rank.language.unknown");
  try { return new Intl.DisplayNames([LOCALE], { type: "language" }).of(code) ?? code; } catch { return code; }
}

/** How the best ensemble is rated against the best member alone; "" while either is not. */
function verdictOf(board) {
  const called = calledBy(board), rated = board.standings.filter((one) => one.rating !== null && one.is_listed), isAlone = ({ name }) => board.alone.includes(name);
  const [system, rival] = [rated.find((one) => !isAlone(one)), rated.find(isAlone)].map((one) => one && { ...one, name: called(one.name) });
  return system && rival ? ratedVerdict(system, rival) : "";
}

/** What people call a contestant. */
const calledBy = ({ words }) => (name) => saidShort(words[name] ?? name);

function standingsOf(board, choose) {
  const { standings, min_votes: minVotes, problem } = board, called = calledBy(board);
  const rated = standings.filter((one) => one.rating !== null);
  const low = Math.min(...rated.map((one) => one.low)), high = Math.max(...rated.map((one) => one.high));
  const costs = COSTS.filter(({ field }) => standings.some((one) => one[field] !== null));
  const columns = ["rank.rank", "rank.name", "rank.rating", "rank.interval", "rank.votes", "rank.record", ...costs.map(({ key }) => key)];
  const range = (one) => `${number(one.low)} – ${number(one.high)}`;
  return h("table", {},
    h("thead", {}, h("tr", {}, ...columns.map((key) => h("th", { scope: "col", class: key === "rank.interval" ? "gac-rank-wide" : null },
      t(key), key === "rank.rating" ? h("small", { class: "gac-rank-narrow", text: t("rank.interval") }) : null)))),
    h("tbody", {}, ...standings.map((one) => {
      const lacks = Math.max(0, minVotes - one.num_votes);
      const shown = one.rating === null ? [h("td", { class: "gac-small", text: lacks ? t("rank.lacks", { n: lacks }) : t(problem ? "rank.waits" : "rank.apart") }), h("td", { class: "gac-rank-wide" })]
        : [h("td", {}, h("b", { text: number(one.rating) }), h("small", { class: "gac-rank-narrow", text: range(one) })),
          h("td", { class: "gac-rank-wide" }, h("span", { class: "gac-interval" }, intervalBar(one, low, high), h("span", { text: range(one) })))];
      return h("tr", { class: one.is_listed ? null : "is-gone", "data-name": one.name },
        h("td", { text: one.rank === null ? "" : one.rank_low === one.rank_high ? `${one.rank}` : `${one.rank} (${one.rank_low}–${one.rank_high})` }),
        h("th", { scope: "row" }, nameLink(one.name, called(one.name), choose), one.is_listed ? null : h("span", { class: "gac-small", text: ` · ${t("rank.gone")}` })),
        ...shown, h("td", { text: number(one.num_votes) }),
        h("td", { text: `${one.num_wins} / ${one.num_ties} / ${one.num_losses} / ${one.num_both_bad}` }),
        ...costs.map(({ field, digits }) => h("td", { text: one[field] === null ? "" : number(one[field], digits) })));
    })));
}

/** What a contestant is called, with its own address. */
function nameLink(name, called, choose) {
  const onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    choose(name);
  };
  return h("a", { class: "gac-rank-one", href: addressOf({ tab: "leaderboard", contestant: name }), onclick }, h("bdi", { text: called }));
}

/** A 95 % interval on the scale of all. */
function intervalBar(one, low, high) {
  const place = (value) => (high > low ? (100 * (value - low)) / (high - low) : 50).toFixed(1);
  return h("span", { class: "gac-interval-bar", "aria-hidden": "true" },
    h("i", { style: `left:${place(one.low)}%;right:${(100 - place(one.high)).toFixed(1)}%` }), h("b", { style: `left:${place(one.rating)}%` }));
}

function biasOf({ left_bias: bias, problem }) {
  if (!bias || problem) return null; // of few votes it says nothing
  const isFair = bias.low <= 0.5 && bias.high >= 0.5;
  return h("p", {}, t("rank.bias", { share: percent(bias.value), low: percent(bias.low), high: percent(bias.high) }), " ", t(isFair ? "rank.bias.fair" : "rank.bias.unfair"));
}

/** What the most active address did, and the ranks without it. */
function busiestOf(board) {
  const { busiest } = board, called = calledBy(board);
  if (!busiest) return null;
  const votes = t("rank.votes.n", { n: busiest.num_votes }), visitors = t("rank.sessions.n", { n: busiest.num_visitors });
  const before = Object.fromEntries(board.standings.map((one) => [one.name, one.rank]));
  const ranks = Object.entries(busiest.ranks).map(([name, rank]) => t(rank === null ? "rank.busiest.unrated" : "rank.busiest.rank", { name: called(name), rank, before: before[name] }));
  const change = ranks.length ? h("b", { text: t("rank.busiest.ranks", { ranks: ranks.join(", ") }) }) : t("rank.busiest.same");
  return h("p", { class: "gac-rank-busiest" }, t("rank.busiest", { votes, visitors, share: percent(busiest.share) }), " ", change);
}

function effectsOf({ style_effects: effects }) {
  const rows = Object.entries(effects);
  if (!rows.length) return null;
  const told = rows.map(([name, { value, low, high }]) => t("rank.effect", { name: t(`feature.${name}`), value: number(value), low: number(low), high: number(high) }));
  return h("p", { text: `${t("rank.effects")} ${told.join(" · ")}` });
}

/** How often row won against column, of their votes. */
function matrixOf(board) {
  const { wins, meetings } = board, names = board.names.map(calledBy(board));
  const met = names.map((_, at) => at).filter((at) => meetings[at].some(Boolean));
  if (met.length < 2) return null;
  const cell = (row, column) => {
    const num = meetings[row][column], share = num ? wins[row][column] / num : 0;
    if (!num) return h("td", { text: row === column ? "" : "–" });
    const title = t("rank.matrix.cell", { row: names[row], column: names[column], wins: number(wins[row][column], 1), n: num });
    return h("td", { title, style: `--share:${(100 * share).toFixed(0)}%` }, h("span", { text: percent(share) }), h("small", { text: ` ${number(num)}` }));
  };
  return h("details", { open: true }, h("summary", { text: t("rank.matrix") }),
    h("div", { class: "gac-lab-table gac-rank-matrix", tabindex: "0", role: "region", "aria-label": t("rank.matrix") }, h("table", {},
      h("thead", {}, h("tr", {}, h("td"), ...met.map((at) => h("th", { scope: "col" }, h("bdi", { text: names[at] }))))),
      h("tbody", {}, ...met.map((row) => h("tr", { "data-name": board.names[row] }, h("th", { scope: "row" }, h("bdi", { text: names[row] })), ...met.map((column) => cell(row, column))))))));
}
