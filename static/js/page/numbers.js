// Moments and numbers as the page's language writes them.

import { LOCALE } from "./words.js";

/** A moment as this browser's language writes it. */
export const moment = (iso) => new Date(iso).toLocaleString(LOCALE, { dateStyle: "medium", timeStyle: "short" });

export const number = (value, digits = 0) => value.toLocaleString(LOCALE, { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const percent = (share, digits = 0) => `${number(share * 100, digits)} %`;
export const seconds = (value) => `${number(value, value < 10 ? 1 : 0)} s`;

/** A short probability: 43 %, 4.3 %, <0.1 %. */
export function probability(value) {
  if (value >= 0.0995) return percent(value);
  return value >= 0.0005 ? percent(value, 1) : `<${percent(0.001, 1)}`;
}
