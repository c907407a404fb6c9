// Theme and language, as this browser was told to keep them; static/first.html reads both before anything is drawn.

const THEME_KEY = "gac.theme", LANGUAGE_KEY = "gac.language";
const SIGNS = { system: "◐", light: "☀", dark: "☾" };
const IS_DARK = matchMedia("(prefers-color-scheme: dark)");
const choice = (name) => element.querySelector(`[name=${name}]`);

function keep(key, value) {
  try { localStorage.setItem(key, value); } catch { /* storage is forbidden: not remembered then */ }
}

/** Charts and Gradio's own parts follow the class. */
function showTheme() {
  const { value } = choice("theme"), isDark = value === "system" ? IS_DARK.matches : value === "dark";
  document.body.classList.toggle("dark", isDark);
  document.documentElement.style.colorScheme = isDark ? "dark" : "light";
  element.querySelector(".gac-look-theme").textContent = SIGNS[value];
}

let theme = null;
try { theme = localStorage.getItem(THEME_KEY); } catch { /* as the system has it */ }
choice("theme").value = theme in SIGNS ? theme : "system";
if (theme in SIGNS) showTheme();
element.querySelector(".gac-look-theme").textContent = SIGNS[choice("theme").value];
choice("theme").addEventListener("change", () => {
  keep(THEME_KEY, choice("theme").value);
  showTheme();
});
IS_DARK.addEventListener("change", showTheme); // after Gradio's own, which heeds the system alone

const address = new URL(location.href);
if (theme in SIGNS && address.searchParams.has("__theme")) {
  address.searchParams.delete("__theme");
  history.replaceState(history.state, "", address);
}

choice("language").replaceChildren(...Object.entries(TABLES).map(([name, words]) => h("option", { value: name, lang: name, text: words["language.name"] })));
choice("language").value = LANGUAGE;
element.querySelector(".gac-look-language").textContent = LANGUAGE.toUpperCase();
choice("language").addEventListener("change", () => {
  keep(LANGUAGE_KEY, choice("language").value);
  location.reload(); // the run is in the address, the settings are in the browser
});
