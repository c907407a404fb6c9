// How the page's elements are made. Data reaches the document as text only, never as markup.

/** An element with properties ("class", "text", "on*", anything else an attribute) and children. */
export function h(tag, props = {}, ...children) {
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

const SIZED = /^(.*?[^-_ .])[-_ .]+(\d+(?:\.\d+)?)([bm])(?![a-z0-9])/iu;
const allNames = new Set(); // of members

/** Names that have to stay different where they are shortened. */
export const tellNames = (names) => names.forEach((name) => allNames.add(name));

/** A model's family and size: ["Qwen2.5 Coder", "0.5B"] of Qwen2.5-Coder-0.5B-Instruct; the whole name, "" where it tells none
 * or another member has the same. */
function familyAndSize(name) {
  const parts = (of) => { const [, family, size, unit] = SIZED.exec(of) ?? []; return family ? [family.replace(/[-_ ]+/gu, " "), `${size}${unit.toUpperCase()}`] : [of, ""]; };
  const own = parts(name), isTwin = [...allNames].some((other) => other !== name && String(parts(other)) === String(own));
  return isTwin ? [name, ""] : own;
}

/** A member's name as short as it can be told from the others'. */
export const shortName = (name) => familyAndSize(name).filter(Boolean).join(" ");

/** A member's family up to its version, where no other has the same: "Qwen2.5" of Qwen2.5-Coder-0.5B-Instruct; else its short name. */
export function briefName(name) {
  const brief = (of) => { const [family] = familyAndSize(of); return /^.*?\d[^ ]*(?= |$)/u.exec(family)?.[0] ?? family; };
  return [...allNames].some((other) => other !== name && brief(other) === brief(name)) ? shortName(name) : brief(name);
}

/** A text that names members, with short names. */
export const shortNames = (text) => [...allNames].sort((a, b) => b.length - a.length).reduce((told, name) => told.replaceAll(name, shortName(name)), text);

/** A member's name, shortened, with the colour and line style that stand for it everywhere. Its tip has the whole. */
export function memberName(name, index) {
  const [family, size] = familyAndSize(name);
  return h("span", { class: "gac-name" }, h("i", { class: "gac-swatch", "data-w": index % 6 }),
    h("bdi", { title: name }, h("span", { text: family }), size ? h("span", { class: "gac-size", text: ` ${size}` }) : null));
}

/** The whole name, where there is room. */
export function wholeName(name, index) {
  const short = memberName(name, index);
  short.lastChild.textContent = name;
  return short;
}

/** A menu: what opens it, by its properties, and what it holds. */
export function menu(summary, ...items) {
  const root = h("details", { class: "gac-keep" }, h("summary", { class: "gac-icon", ...summary }), h("div", { class: "gac-keep-items" }, ...items));
  closeOnLeaving(root);
  return root;
}

/** A menu, a `details`, closes by Escape and by a click elsewhere. */
export function closeOnLeaving(menu) {
  const onClick = (event) => { if (!menu.contains(event.target)) menu.open = false; };
  menu.addEventListener("toggle", () => (menu.open ? document.addEventListener("click", onClick) : document.removeEventListener("click", onClick)));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    shut(menu);
  });
}

/** Close a menu; the focus is on what opens it. */
export function shut(menu) {
  menu.open = false;
  menu.querySelector("summary").focus();
}

/** Whether there is a keyboard, as far as a page is told. */
export const HAS_KEYS = matchMedia("(pointer: fine)");

/** Esc leaves a prompt's field, so that keys act again. */
export function leaveField(event) {
  if (event.key === "Escape" && !event.isComposing) event.target.blur();
}

const FOLLOW_PX = 48; // a box scrolled this near its end follows what is written

/** What scrolls a box to its end, or to where it is told, unless somebody has scrolled it elsewhere. */
export function following(box) {
  let isAtEnd = true;
  box.addEventListener("scroll", () => { isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < FOLLOW_PX; }, { passive: true });
  return (top = box.scrollHeight) => { if (isAtEnd) box.scrollTop = top; };
}
