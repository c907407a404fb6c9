// Theme and language, as this browser was told to keep them; static/first.html reads both before anything is drawn.

import { keepText, keptText, takenFromAddress } from "./browser.js";
import { h } from "./elements.js";
import { LANGUAGE, TABLES } from "./words.js";

const THEME_KEY = "gac.theme", LANGUAGE_KEY = "gac.language";
const IS_DARK = matchMedia("(prefers-color-scheme: dark)");

export function startLook(element) {
  chooseTheme(element.querySelector("[name=theme]"));
  chooseLanguage(element.querySelector("[name=language]"));
}

function chooseTheme(choice) {
  const kept = keptText(THEME_KEY), isKept = ["system", "light", "dark"].includes(kept);
  // Charts and Gradio's own parts follow the class.
  const show = () => {
    const isDark = choice.value === "system" ? IS_DARK.matches : choice.value === "dark";
    document.body.classList.toggle("dark", isDark);
    document.documentElement.style.colorScheme = isDark ? "dark" : "light";
  };
  choice.value = isKept ? kept : "system";
  if (isKept) show();
  choice.addEventListener("change", () => {
    keepText(THEME_KEY, choice.value);
    show();
  });
  IS_DARK.addEventListener("change", show); // after Gradio's own, which heeds the system alone
  if (isKept) takenFromAddress("__theme");
}

function chooseLanguage(choice) {
  choice.replaceChildren(...Object.entries(TABLES).map(([name, words]) => h("option", { value: name, lang: name, text: words["language.name"] })));
  choice.value = LANGUAGE;
  choice.addEventListener("change", () => {
    keepText(LANGUAGE_KEY, choice.value);
    location.reload(); // the run is in the address, the settings are in the browser
  });
}
