// Settings under a name, kept in this browser.

import { readKept, writeKept } from "../page/browser.js";
import { h } from "../page/elements.js";
import { t } from "../page/words.js";

const PRESETS_KEY = "gac.presets";
const MAX_NAME_CHARS = 40;
const DEFAULTS = "Defaults"; // no preset's name

export class Presets {
  /** `onChoose(changes)`: a preset's settings, as they differ from the defaults; `current()` gives those shown. */
  constructor(root, onChoose, current) {
    Object.assign(this, { root, onChoose, current, own: Object(readKept(PRESETS_KEY, {})) });
    this.select = h("select", { "aria-label": t("preset"), onchange: () => this.choose() });
    this.name = h("input", { type: "text", maxlength: MAX_NAME_CHARS, placeholder: t("preset.name"), "aria-label": t("preset.name.of"), hidden: true });
    this.saveButton = h("button", { type: "submit", class: "gac-button", text: t("preset.save-as") });
    this.deleteButton = h("button", { type: "button", class: "gac-button gac-danger", text: t("delete"), onclick: () => this.remove() });
    this.form = h("form", {}, h("label", {}, h("span", { text: t("preset") }), this.select), this.name, this.saveButton, this.deleteButton);
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.save(); });
    this.name.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.askName(false);
    });
    root.replaceChildren(this.form);
  }

  /** Show which preset the settings are, if any. */
  show() {
    const now = JSON.stringify(this.current());
    const all = [[DEFAULTS, {}], ...Object.entries(this.own)];
    const found = all.find(([, changes]) => JSON.stringify(changes) === now)?.[0];
    this.select.replaceChildren(...(found ? [] : [h("option", { value: "", text: t("preset.changed") })]),
      ...all.map(([name]) => h("option", { value: name, text: name === DEFAULTS ? t("preset.defaults") : name })));
    this.select.value = found ?? "";
    this.deleteButton.hidden = !found || !(found in this.own);
  }

  choose() {
    if (this.select.value) this.onChoose(this.own[this.select.value] ?? {});
  }

  askName(isAsked) {
    this.name.hidden = !isAsked;
    this.saveButton.textContent = t(isAsked ? "preset.save" : "preset.save-as");
    (isAsked ? this.name : this.saveButton).focus();
  }

  save() {
    if (this.name.hidden) return this.askName(true);
    const name = this.name.value.trim();
    if (!name || name === DEFAULTS) return this.name.focus();
    this.own = { ...this.own, [name]: this.current() };
    this.name.value = "";
    this.askName(false);
    this.keep();
  }

  remove() {
    delete this.own[this.select.value];
    this.keep();
    this.select.focus();
  }

  keep() {
    writeKept(PRESETS_KEY, this.own);
    this.show();
  }
}
