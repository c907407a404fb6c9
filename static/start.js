(async () => {
  const modules = window.gac?.["MODULE"] ? window.gac : (await import("BUNDLE")).modules; // without waiting where they are there already
  modules["page/words"].translate(element);
  modules["MODULE"].start?.({ element, props, server, trigger, watch });
  element.dataset.started = "";
})().catch((error) => {
  const tables = window.gradio_config.i18n_translations, note = document.createElement("p");
  note.textContent = (tables[navigator.language] ?? tables[navigator.language.split("-")[0]] ?? tables.en)["page.not-started"];
  note.className = "is-error";
  note.setAttribute("role", "alert");
  element.prepend(note);
  throw error;
});
