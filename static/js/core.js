// Shared by every part of the page. Data reaches the document as text only, never as markup.

window.gac ??= {}; // what the parts of the page offer each other; the board fills it

/** Do something once Gradio hears events: what is triggered while the page is put together is lost. */
function onLoaded(act) {
  if (window.gac.isLoaded) act();
  else document.addEventListener("gac-loaded", act, { once: true });
}

const VISITOR_KEY = "gac.visitor";

/** The 256-bit key that owns this browser's runs; drawn once, kept by the browser, never in an address. */
function visitorKey() {
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

/** An element with properties ("class", "text", "on*", anything else an attribute) and children. */
function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A member's name with the colour and line style that stand for it everywhere. */
function memberName(name, index) {
  return h("span", { class: "gac-name" }, h("i", { class: "gac-swatch", "data-w": index % 6 }), h("bdi", { text: name, title: name }));
}

/** What the server says to a call; an error in words where it says nothing. */
const answerTo = async (call) => (await call) ?? { error: t("server.silent") };

const REVOKE_MS = 1000;

/** Hand a file to the browser's downloads. */
function download(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), REVOKE_MS);
}

/** What this browser keeps as JSON: read, and written where it may keep anything. */
function readKept(key, fallback) {
  try { return parseJson(localStorage.getItem(key), fallback); } catch { return fallback; }
}
function writeKept(key, value) {
  try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* storage is forbidden: not remembered then */ }
}

/** A function that has `draw` called in the next animation frame, once however often it is called before that. */
function oncePerFrame(draw) {
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

/** A moment as this browser's language writes it. */
const moment = (iso) => new Date(iso).toLocaleString(LOCALE, { dateStyle: "medium", timeStyle: "short" });

const number = (value, digits = 0) => value.toLocaleString(LOCALE, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = (share, digits = 0) => `${number(share * 100, digits)} %`;
const seconds = (value) => `${number(value, value < 10 ? 1 : 0)} s`;

/** A short probability: 43 %, 4.3 %, <0.1 %. */
function probability(value) {
  if (value >= 0.0995) return percent(value);
  return value >= 0.0005 ? percent(value, 1) : `<${percent(0.001, 1)}`;
}

function parseJson(value, fallback) {
  try {
    return JSON.parse(value || "null") ?? fallback;
  } catch {
    return fallback;
  }
}

translate(element);

/** Esc leaves a prompt's field, so that keys act again. */
function leaveField(event) {
  if (event.key === "Escape" && !event.isComposing) event.target.blur();
}
