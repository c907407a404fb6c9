// Moments and numbers as the page's language writes them, and days of the visitor's own calendar.

import { LOCALE } from "./words.js";

/** A moment as this browser's language writes it. */
export const moment = (iso) => new Date(iso).toLocaleString(LOCALE, { dateStyle: "medium", timeStyle: "short" });

/** The moment at which a day begins, or the day `daysLater`, as the server reads it; "" for no day. Days may have 23 or 25 hours. */
export function startOf(day, daysLater = 0) {
  const at = new Date(`${day}T00:00`);
  if (Number.isNaN(at.getTime())) return "";
  at.setDate(at.getDate() + daysLater);
  return at.toISOString();
}

export const number = (value, digits = 0) => value.toLocaleString(LOCALE, { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const percent = (share, digits = 0) => `${number(share * 100, digits)} %`;
export const seconds = (value) => `${number(value, value < 10 ? 1 : 0)} s`;

/** A short probability: 43 %, 4.3 %, <0.1 %. */
export function probability(value) {
  if (value >= 0.0995) return percent(value);
  return value >= 0.0005 ? percent(value, 1) : `<${percent(0.001, 1)}`;
}
