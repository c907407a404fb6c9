// How far the members are with reading the prompt, and how long that may still take.

import { percent } from "../page/numbers.js";
import { t } from "../page/words.js";

const MIN_SHARE_SEEN = 0.05; // less of it says nothing about the time left

export class Reading {
  constructor() {
    Object.assign(this, { shares: {}, first: null });
  }

  /** Members' shares of the prompt by name; the cards are told theirs. */
  take(shares, cards) {
    this.shares = shares;
    for (const card of cards) card.readShare = this.shareOf(card.stream.name);
    // What an earlier turn has read is there at once, and tells nothing of the speed.
    this.first ??= { share: this.least, at: performance.now() };
  }

  /** Of the member that is last. */
  get least() {
    return Math.min(1, ...Object.values(this.shares));
  }

  /** A member's, or without a name the ensemble's, which is that of the slowest. */
  shareOf(name) {
    return name === undefined ? this.least : this.shares[name] ?? 0;
  }

  words() {
    return this.first ? t("status.reading", { share: percent(this.least) }) : t("status.reading-begins");
  }

  left() {
    const seen = this.first ? this.least - this.first.share : 0;
    if (seen < MIN_SHARE_SEEN || this.least >= 1) return "";
    const left = (performance.now() - this.first.at) / 1000 / seen * (1 - this.least);
    return left < 1 ? "" : t("lab.left", { time: `${Math.round(left)} s` });
  }
}
