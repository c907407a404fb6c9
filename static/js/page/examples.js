// The examples above the prompt: one fills it, and runs at once where that is asked for.

import { parseJson } from "./browser.js";
import { h } from "./elements.js";
import { said, t } from "./words.js";

export function start({ element, props }) {
  element.querySelector(".gac-examples").replaceChildren(...parseJson(props.value, []).map((example) => chip(said(example))));
}

function chip(text) {
  return h("li", {},
    h("button", { type: "button", text, dir: "auto", onclick: () => fill(text) }),
    h("button", { type: "button", class: "gac-at-once", text: "▸", title: t("example.run"), "aria-label": t("example.run.of", { text }), onclick: () => run(text) }));
}

function fill(text) {
  const box = document.querySelector("#gac-prompt textarea");
  box.value = text;
  box.dispatchEvent(new Event("input", { bubbles: true })); // as if it was typed
  box.focus({ preventScroll: true });
}

async function run(text) {
  fill(text);
  await new Promise(requestAnimationFrame); // until Gradio knows of it
  document.querySelector("#gac-prompt .submit-button").click();
}
