// The status line, the word beside the prompt, and what the rest of the page learns of a run by classes of the body.

import { visitorKey } from "../page/browser.js";
import { HAS_KEYS } from "../page/elements.js";
import { number, seconds } from "../page/numbers.js";
import { said, t } from "../page/words.js";

export const STATUS_MS = 1000; // the status line changes at most this often
const SPOKEN_MS = 10_000; // a screen reader hears its numbers at most this often; phases at once
export const STOP_TIMEOUT_MS = 8000; // how long a stopped run may take to say that it ended
const SAVING_MS = 3000, SAVING_ATTEMPTS = 20; // longer than the server tries to store a run

export class StatusLine {
  /** `spoken`: what is read out. */
  constructor(root, spoken) {
    Object.assign(this, { root, spoken, saidAt: 0, spokenAt: 0, phase: "" });
  }

  show(text, isNow) {
    const now = performance.now(), phase = text.split(/\d| · /u)[0];
    if (text === this.root.textContent || (!isNow && now - this.saidAt < STATUS_MS)) return;
    this.saidAt = now;
    this.root.textContent = text;
    if (!isNow && phase === this.phase && now - this.spokenAt < SPOKEN_MS) return;
    Object.assign(this, { phase, spokenAt: now });
    this.spoken.textContent = text;
  }
}

const SILENT_MS = 4000; // then the server is asked whether it is there

/** Whether the server is gone. Gradio connects again; where the server began anew, it loads the page. */
export class Pulse {
  constructor(onBack) {
    Object.assign(this, { onBack, isLost: false });
    this.hear();
  }

  hear() {
    Object.assign(this, { heardAt: performance.now(), isLost: false });
  }

  async look(isAwaited) {
    if (!(isAwaited || this.isLost) || performance.now() - this.heardAt < SILENT_MS) return;
    this.heardAt = performance.now();
    const isThere = await fetch(`${gradio_config.root}/healthz`).then(({ status }) => status < 500, () => false), isBack = this.isLost && isThere;
    this.isLost = !isThere;
    if (isBack) this.onBack();
  }
}

export function statusOf({ pulse, awaited, isBusy, run, phase, isLive, streams, startedAt, reading, done }) {
  if (pulse.isLost) return t("status.lost");
  if (awaited.isOn) return t("status.awaits-members");
  if (isBusy) return t("status.starting");
  if (!run) return "";
  const sinceStart = `${number((performance.now() - startedAt) / 1000)} s`;
  if (phase.status === "waiting" && isLive) return [t("status.queue", { place: phase.place }), sinceStart, ...besideWords(phase)].join(" · ");
  const all = t("count.tokens", { n: streams.reduce((sum, stream) => sum + stream.tokens.length, 0) });
  const tokens = streams.length > 1 ? t("status.tokens", { n: streams.length, tokens: all }) : all;
  if (isLive && streams[0].tokens.length) return [t("status.writing"), tokens, sinceStart].join(" · ");
  if (isLive) return [reading.words(), sinceStart, reading.left(), ...besideWords(phase)].filter(Boolean).join(" · ");
  const took = Math.max(0, ...streams.map((stream) => stream.end?.seconds ?? 0));
  return [t(`run.${done.status}`), tokens, took ? seconds(took) : null, done.saved ? null : t(done.saved === false ? "status.not-saved" : "status.not-saved-yet")].filter(Boolean).join(" · ");
}

/** What else holds the machine. */
function besideWords({ runs, study }) {
  return [runs ? t("status.other-runs", { count: runs }) : "", study ? t("status.study", { study: said(study) }) : ""].filter(Boolean);
}

/** What Enter does now, or that the first run starts, beside the prompt; and whether there is a run at all. */
export function tellPage(board) {
  const { isLive, isBusy, run } = board;
  const { classList } = document.body, hint = document.querySelector(".gac-hint");
  classList.toggle("gac-is-live", isLive);
  classList.toggle("gac-awaits", board.awaited.isOn);
  classList.toggle("gac-has-run", Boolean(run) || isBusy);
  const next = classList.contains("gac-shows-earlier") ? t("hint.goes-on") : "";
  if (hint) hint.textContent = isLive ? (HAS_KEYS.matches ? t("hint.enter-stops") : "") : run ? next : statusOf(board);
}

/** The database is busy or away: ask now and then what became of the run. */
export async function awaitSaving(board, id) {
  for (let left = SAVING_ATTEMPTS; left && board.run?.id === id && board.done?.saved === null; left -= 1) {
    await new Promise((wake) => setTimeout(wake, SAVING_MS));
    const reply = await board.server.saved_run({ key: visitorKey(), run: id });
    if (board.run?.id !== id || !board.done || !reply || reply.error) continue;
    board.done.saved = reply.saved;
    board.refresh(true);
  }
}
