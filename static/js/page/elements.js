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

/** A member's name with the colour and line style that stand for it everywhere. */
export function memberName(name, index) {
  return h("span", { class: "gac-name" }, h("i", { class: "gac-swatch", "data-w": index % 6 }), h("bdi", { text: name, title: name }));
}

/** A menu, a `details`, closes by Escape and by a click elsewhere. */
export function closeOnLeaving(menu) {
  const onClick = (event) => { if (!menu.contains(event.target)) menu.open = false; };
  menu.addEventListener("toggle", () => (menu.open ? document.addEventListener("click", onClick) : document.removeEventListener("click", onClick)));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

/** Esc leaves a prompt's field, so that keys act again. */
export function leaveField(event) {
  if (event.key === "Escape" && !event.isComposing) event.target.blur();
}

const FOLLOW_PX = 48; // a box scrolled this near its end follows what is written

/** What scrolls a box to its end, unless somebody has scrolled it elsewhere. */
export function following(box) {
  let isAtEnd = true;
  box.addEventListener("scroll", () => { isAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < FOLLOW_PX; }, { passive: true });
  return () => { if (isAtEnd) box.scrollTop = box.scrollHeight; };
}
