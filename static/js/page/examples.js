// The examples above the prompt: a click runs one.

import { parseJson } from "./browser.js";
import { h } from "./elements.js";
import { said } from "./words.js";

export function start({ element, props }) {
  element.querySelector(".gac-examples").replaceChildren(...parseJson(props.value, []).map((example) => chip(said(example))));
}

const chip = (text) => h("li", {}, h("button", { type: "button", text, dir: "auto", onclick: () => run(text) }));

async function run(text) {
  const box = document.querySelector("#gac-prompt textarea");
  box.value = text;
  box.dispatchEvent(new Event("input", { bubbles: true })); // as if it was typed
  await new Promise(requestAnimationFrame); // until Gradio knows of it
  document.querySelector("#gac-prompt .submit-button").click();
}
