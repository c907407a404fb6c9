// How the answers stand: in columns that fill the window, each of which scrolls by itself; on narrow screens one under
// another, each as tall as its text.

const NARROW = matchMedia("(max-width: 999px)");
const MIN_STAGE = 220; // px
const AIR = 22; // px, between the columns, the votes and what is docked

export class Arrangement {
  /** `board`: the root; `columns`: of the cards. */
  constructor(board, columns) {
    Object.assign(this, { board, columns });
    this.watcher = new ResizeObserver(() => this.fit());
    this.watcher.observe(document.body); // which grows with what stands above
    addEventListener("resize", () => this.fit());
  }

  /** Give the columns the room between what stands above them and what is docked below. */
  fit() {
    const below = document.querySelector("#gac-dock")?.offsetHeight ?? 0;
    document.documentElement.style.setProperty("--docked", `${below}px`);
    if (!this.board.offsetParent) return;
    const tab = document.querySelector("#gac-compare");
    tab?.style.setProperty("--above", `${Math.ceil(tab.getBoundingClientRect().top + scrollY)}px`);
    if (NARROW.matches || !this.columns.offsetParent) return;
    const top = this.columns.getBoundingClientRect().top + scrollY;
    const votes = this.board.querySelector(".gac-votes").offsetHeight;
    this.board.style.setProperty("--stage", `${Math.max(MIN_STAGE, Math.floor(innerHeight - top - below - votes - AIR))}px`);
  }

  /** With the run goes the first answer's room. What stood below it out of sight comes in anew; nothing that is seen
   * moves. */
  end(run) {
    const parts = NARROW.matches ? [...this.board.querySelectorAll(".gac-ensemble .gac-foot, .gac-card, .gac-votes")] : [];
    const below = parts.filter((part) => part.getBoundingClientRect().top >= innerHeight), top = scrollY;
    for (const part of below) part.hidden = true;
    run();
    this.board.getBoundingClientRect(); // laid out without them
    for (const part of below) part.hidden = false;
    if (below.length) scrollTo({ top }); // it was shorter
  }

  start() {
    // By now the rest of the page is there too.
    for (const part of document.querySelectorAll("#gac-top, #gac-turns, #gac-dock, .gac-fixed")) this.watcher.observe(part);
    this.fit();
    // A narrow screen is scrolled to the prompt, so that the answer has all of it.
    if (NARROW.matches && this.board.offsetParent) scrollTo({ top: this.board.querySelector(".gac-asked").getBoundingClientRect().top + scrollY });
  }
}
