// Settings under a name: the defaults, those that come with the page, and one's own, kept in this browser.

import { readKept, writeKept } from "../page/browser.js";
import { h } from "../page/elements.js";
import { t } from "../page/words.js";
import { shippedPresets } from "./shipped.js";

const PRESETS_KEY = "gac.presets";
const MAX_NAME_CHARS = 40;
const DEFAULTS = "Defaults"; // no preset's name
const SHIPPED = "\n"; // begins what stands for a shipped one, and no name that is typed

const keptPresets = () => Object(readKept(PRESETS_KEY, {}));

export class Presets {
  constructor(root, panel) {
    Object.assign(this, { root, panel, own: keptPresets() });
    this.select = h("select", { "aria-label": t("preset"), onchange: () => this.choose() });
    this.name = h("input", { type: "text", maxlength: MAX_NAME_CHARS, placeholder: t("name"), "aria-label": t("name"), hidden: true });
    this.saveButton = h("button", { type: "submit", class: "gac-button", text: t("preset.save-as") });
    this.deleteButton = h("button", { type: "button", class: "gac-button gac-danger", text: t("delete"), onclick: () => this.remove() });
    this.about = h("p", { class: "gac-small" });
    this.form = h("form", {}, h("label", {}, h("span", { text: t("preset") }), this.select), this.name, this.saveButton, this.deleteButton, this.about);
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.save(); });
    this.name.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.askName(false);
    });
    root.replaceChildren(this.form);
  }

  /** All of them: {id, name, about, changes}. */
  get all() {
    const { panel } = this;
    return [
      { id: DEFAULTS, name: t("preset.defaults"), about: t("preset.defaults.about"), changes: {} },
      ...Object.entries(this.own).map(([name, kept]) => ({ id: name, name, about: "", changes: panel.fitting(kept) })),
      ...shippedPresets(panel.defaults, panel.changes()).map((preset) => ({ ...preset, id: SHIPPED + preset.name })),
    ];
  }

  /** Show which preset the settings are, if any. */
  show() {
    const now = JSON.stringify(this.panel.changes()), { all } = this;
    const found = all.find(({ changes }) => JSON.stringify(changes) === now);
    this.select.replaceChildren(...(found ? [] : [h("option", { value: "", text: t("status.not-saved") })]),
      ...all.map(({ id, name }) => h("option", { value: id, text: name })));
    this.select.value = found?.id ?? "";
    this.about.textContent = found?.about ?? "";
    this.deleteButton.hidden = !found || !(found.id in this.own);
  }

  choose() {
    const chosen = this.all.find(({ id }) => id === this.select.value);
    if (chosen) this.panel.use(chosen.changes);
  }

  askName(isAsked) {
    this.name.hidden = !isAsked;
    this.saveButton.textContent = t(isAsked ? "save" : "preset.save-as");
    (isAsked ? this.name : this.saveButton).focus();
  }

  save() {
    if (this.name.hidden) return this.askName(true);
    const name = this.name.value.trim();
    if (!name || name === DEFAULTS) return this.name.focus();
    this.own = { ...keptPresets(), [name]: this.panel.changes() }; // other tabs save too
    this.name.value = "";
    this.askName(false);
    this.keep();
  }

  remove() {
    this.own = keptPresets();
    delete this.own[this.select.value];
    this.keep();
    this.select.focus();
  }

  keep() {
    writeKept(PRESETS_KEY, this.own);
    this.show();
  }
}
