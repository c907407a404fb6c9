// What the browser does for the page: the visitor's key, what is kept, downloads, the next frame.

import { h } from "./elements.js";
import { t } from "./words.js";

const VISITOR_KEY = "gac.visitor";

/** The 256-bit key that owns this browser's runs; drawn once, kept by the browser, never in an address. */
export function visitorKey() {
  let key = null;
  try {
    key = localStorage.getItem(VISITOR_KEY);
    if (!/^[0-9a-f]{64}$/.test(key ?? "")) {
      const bytes = crypto.getRandomValues(new Uint8Array(32));
      key = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
      localStorage.setItem(VISITOR_KEY, key);
    }
  } catch {
    return ""; // storage is forbidden: the server says so in words
  }
  return key;
}

/** What the server says to a call; an error in words where it says nothing. */
export const answerTo = async (call) => (await call) ?? { error: t("server.silent") };

/** `ask(name, fields)` calls a function of Python's for this visitor; see `answerTo`. */
export const asking = (server) => (name, fields = {}) => answerTo(server[name]({ key: visitorKey(), ...fields }));

const REVOKE_MS = 1000;

/** Hand a file to the browser's downloads. */
export function download(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), REVOKE_MS);
}

/** Copies `text`; by a selection where there is no clipboard, as over plain HTTP. Throws an error in words. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const focused = document.activeElement, field = h("textarea", { readonly: "" });
    field.value = text;
    (focused?.closest("dialog") ?? document.body).append(field); // an open dialog lets nothing outside be selected
    field.select();
    const isCopied = document.execCommand("copy");
    field.remove();
    focused?.focus({ preventScroll: true });
    if (!isCopied) throw new Error(t("keep.refused"));
  }
}

/** Copies `text` and says on the button for a moment whether that was possible. */
export async function copyBy(button, text, label) {
  button.textContent = await copy(text).then(() => t("copied"), (error) => error.message);
  setTimeout(() => { button.textContent = label; }, 1500);
}

export const BATTLE = "gac.battle"; // the battle shown last is kept under this key

export const OF_TAB = "sessionStorage"; // what this tab alone keeps, also over a reload or a crash

/** What this browser keeps under a key, or null. */
export function keptText(key, where = "localStorage") {
  try { return globalThis[where].getItem(key); } catch { return null; }
}

/** Keep it, where the browser may keep anything. */
export function keepText(key, text, where = "localStorage") {
  try { globalThis[where].setItem(key, text); } catch { /* storage is forbidden: not remembered then */ }
}

/** The same as JSON. */
export const readKept = (key, fallback) => parseJson(keptText(key), fallback);
export const writeKept = (key, value) => keepText(key, JSON.stringify(value));

/** The same of this tab. One that has kept nothing yet begins with what the last one did. */
export const readKeptHere = (key, fallback) => parseJson(keptText(key, OF_TAB) ?? keptText(key), fallback);
export function writeKeptHere(key, value) {
  writeKept(key, value);
  keepText(key, JSON.stringify(value), OF_TAB);
}

/** An asynchronous function that is under way once at a time: a call meanwhile is the same call. */
export function onceAtATime(act) {
  let underWay = null;
  return () => (underWay ??= act().finally(() => { underWay = null; }));
}

/** A function that has `draw` called in the next animation frame, once however often it is called before that. */
export function oncePerFrame(draw) {
  let isPending = false;
  return () => {
    if (isPending) return;
    isPending = true;
    requestAnimationFrame(() => {
      isPending = false;
      draw();
    });
  };
}

/** What the address names, once: then it no longer does. */
export function takenFromAddress(name) {
  const address = new URL(location.href), value = address.searchParams.get(name);
  if (value === null) return null;
  address.searchParams.delete(name);
  history.replaceState(history.state, "", address);
  return value;
}

export function parseJson(value, fallback) {
  try {
    return JSON.parse(value || "null") ?? fallback;
  } catch {
    return fallback;
  }
}
