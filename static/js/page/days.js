// Days of the visitor's own calendar, as moments for the server.

/** When a day begins, or one that is later; "" for no day. A day may have 23 or 25 hours. */
export function startOf(day, daysLater = 0) {
  const at = new Date(`${day}T00:00`);
  if (Number.isNaN(at.getTime())) return "";
  at.setDate(at.getDate() + daysLater);
  return at.toISOString();
}
