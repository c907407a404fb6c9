// How the answers stand: in columns or stacked, with or without details, as the visitor last chose; on narrow screens one
// at a time, below a line of tabs. The columns fill the window, and each scrolls by itself.

import { keepText, keptText } from "../page/browser.js";
import { h } from "../page/elements.js";
import { t } from "../page/words.js";

const LAYOUT_KEY = "gac.layout", DETAILS_KEY = "gac.details";
const LAYOUTS = ["columns", "stacked"];
const NARROW = matchMedia("(max-width: 999px)");
const MIN_STAGE = 220, MIN_NARROW_STAGE = 300; // px
const AIR = 22; // px, between the columns, the votes and what is docked

export class Arrangement {
  /** `board`: the root; `columns`: of the cards; `rows`: for a tab a card; `choice`: for the switch. */
  constructor(board, columns, rows, choice) {
    Object.assign(this, { board, columns, rows, cards: [], shown: 0, hasDetails: keptText(DETAILS_KEY) === "on" });
    const names = LAYOUTS.map(() => h("span")), name = () => names.forEach((span, index) => { span.textContent = t(`layout.${LAYOUTS[index]}${NARROW.matches ? ".narrow" : ""}`); });
    choice.replaceChildren(...LAYOUTS.map((id, index) => h("label", {},
      h("input", { type: "radio", name: "gac-layout", value: id, onchange: () => this.choose(id) }), names[index])));
    NARROW.addEventListener("change", name);
    name();
    const kept = keptText(LAYOUT_KEY);
    this.choice = choice;
    this.choose(LAYOUTS.includes(kept) ? kept : "columns", false);
    this.watcher = new ResizeObserver(() => this.fit());
    this.watcher.observe(document.body); // which grows with what stands above
    addEventListener("resize", () => this.fit());
    rows.addEventListener("keydown", (event) => this.onKey(event));
  }

  choose(layout, isKept = true) {
    this.board.dataset.layout = layout;
    this.choice.querySelector(`[value=${layout}]`).checked = true;
    if (isKept) keepText(LAYOUT_KEY, layout);
    this.fit();
  }

  /** Give the columns the room between what stands above them and what is docked below. */
  fit() {
    if (!this.board.offsetParent) return;
    const tab = document.querySelector("#gac-compare");
    tab?.style.setProperty("--above", `${Math.ceil(tab.getBoundingClientRect().top + scrollY)}px`);
    if (!this.cards.length) return;
    // A narrow screen is scrolled to the prompt, so that the answer has all of it.
    const from = NARROW.matches ? this.asked.getBoundingClientRect().top : -scrollY;
    const top = this.columns.getBoundingClientRect().top - from;
    const below = document.querySelector("#gac-dock")?.offsetHeight ?? 0, votes = this.board.querySelector(".gac-votes").offsetHeight;
    const room = Math.max(NARROW.matches ? MIN_NARROW_STAGE : MIN_STAGE, Math.floor(innerHeight - top - below - votes - AIR));
    this.board.style.setProperty("--stage", `${room}px`);
  }

  start(cards) {
    this.cards = cards;
    // By now the rest of the page is there too.
    for (const part of document.querySelectorAll("#gac-top, #gac-turns, #gac-dock, .gac-fixed")) this.watcher.observe(part);
    this.tabs = cards.map((card, index) => h("button", { type: "button", role: "tab", id: `gac-tab-${index}`, "aria-controls": card.root.id, onclick: () => this.showCard(index) },
      card.name()));
    this.rows.replaceChildren(...this.tabs);
    this.showCard(0);
    this.showDetails();
    this.fit();
    if (NARROW.matches && this.board.offsetParent) scrollTo({ top: this.asked.getBoundingClientRect().top + scrollY });
  }

  get asked() {
    return this.board.querySelector(".gac-asked");
  }

  toggleDetails() {
    this.hasDetails = !this.hasDetails;
    keepText(DETAILS_KEY, this.hasDetails ? "on" : "off");
    this.showDetails();
  }

  showDetails() {
    this.board.classList.toggle("has-details", this.hasDetails);
    for (const card of this.cards) card.showDetails(this.hasDetails);
  }

  showCard(index) {
    this.shown = index;
    this.cards.forEach((card, at) => card.root.classList.toggle("is-shown", at === index));
    this.tabs.forEach((tab, at) => {
      tab.setAttribute("aria-selected", String(at === index));
      tab.tabIndex = at === index ? 0 : -1;
    });
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    this.showCard((this.shown + step + this.tabs.length) % this.tabs.length);
    this.tabs[this.shown].focus();
  }
}

/** Puts the panel beside the card that it explains, which keeps the chosen token in sight. */
export function placeBeside(board, card) {
  const { left, right, top } = card.root.getBoundingClientRect();
  if (NARROW.matches) {
    // The sheet takes the lower half; what it explains moves into the upper one.
    scrollTo({ top: top + scrollY - 8 });
  } else {
    const side = board.part("side"), all = board.part("columns").getBoundingClientRect();
    const place = all.right - right > side.offsetWidth ? right + 4 : left - side.offsetWidth - 4;
    board.root.style.setProperty("--side", `${Math.max(0, place - all.left)}px`);
  }
  card.tokens.reveal();
}
