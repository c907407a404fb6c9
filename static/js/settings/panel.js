// The settings of the next run at the side: fields in groups, kept by this tab and for new ones as they differ from the defaults.

import { readKeptHere, writeKeptHere } from "../page/browser.js";
import { h } from "../page/elements.js";
import { t } from "../page/words.js";
import { FIELD_KINDS } from "./fields.js";
import { MembersField } from "./member_cards.js";
import { Presets } from "./presets.js";

const SETTINGS_KEY = "gac.settings";
const CHECK_MS = 150;
const KINDS = { ...FIELD_KINDS, members: MembersField };
const PHONE = matchMedia("(max-width: 640px)");

export class SettingsPanel {
  /** `first`: {spec, members, defaults}; `check(values, at)` asks what they mean. */
  constructor(dialog, first, check) {
    Object.assign(this, { dialog, defaults: first.defaults, members: first.members, check, at: 0, timer: 0, opener: null });
    this.values = { ...first.defaults, ...this.fitting(readKeptHere(SETTINGS_KEY, {})) };
    this.fields = new Map(first.spec.filter(({ kind }) => kind in KINDS).map((spec) =>
      [spec.name, new KINDS[spec.kind]({ ...spec, members: first.members }, (value, name = spec.name) => this.set(name, value))]));
    this.presets = new Presets(dialog.querySelector(".gac-presets"), this);
    dialog.querySelector(".gac-settings-groups").replaceChildren(...this.groups());
    dialog.querySelector("[data-act=close]").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => document.activeElement === document.body && this.opener?.focus());
    // It gives way to what has the focus and lies under it.
    document.addEventListener("focusin", ({ target }) => {
      if (dialog.open && !dialog.contains(target) && target.getBoundingClientRect().left >= dialog.getBoundingClientRect().left) dialog.close();
    });
    addEventListener("keydown", ({ key, target, defaultPrevented }) => key === "Escape" && !defaultPrevented && !target.closest("dialog") && dialog.close()); // after the inspector
    dialog.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // or it would close the inspector too
      dialog.close();
    });
    this.show();
  }

  /** What everybody may want to change, and the rest, which is closed at first. */
  groups() {
    const fields = (isMain) => [...this.fields.values()].filter(({ spec }) => spec.is_main === isMain).map(({ root }) => root);
    this.research = h("details", {}, h("summary", {}, h("h3", { text: t("settings.research") })), ...fields(false));
    return [h("section", {}, ...fields(true)), this.research];
  }

  /** Of settings kept earlier, those that there still are. */
  fitting(kept) {
    const known = Object.entries(Object(kept)).filter(([name]) => name in this.defaults);
    const isHere = (name) => this.members.includes(name);
    return Object.fromEntries(known.filter(([name, value]) =>
      name === "gate" ? isHere(value) : name === "members" ? Array.isArray(value) && value.length && value.every(isHere)
        : name === "own_weights" ? Object.keys(Object(value)).every(isHere) : true));
  }

  /** The values that differ from the defaults. */
  changes() {
    return Object.fromEntries(Object.entries(this.values).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(this.defaults[name])));
  }

  set(name, value) {
    this.values[name] = value;
    writeKeptHere(SETTINGS_KEY, this.changes());
    this.presets.show();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), CHECK_MS);
  }

  use(changes) {
    this.values = { ...this.defaults, ...changes };
    writeKeptHere(SETTINGS_KEY, this.changes());
    this.show();
  }

  show() {
    for (const [name, field] of this.fields) field.show(this.values[name], this.values);
    this.presets.show();
    this.ask();
  }

  ask() {
    this.at += 1;
    this.check(this.changes(), this.at);
  }

  /** What the values mean, as asked for last. */
  tell({ at, idle, faults }) {
    if (at !== this.at) return false;
    this.faults = faults;
    for (const [name, field] of this.fields) field.tell(idle, faults[name]);
    return true;
  }

  open(opener, name = null) {
    this.opener = opener;
    if (!this.dialog.open) {
      if (PHONE.matches) this.dialog.showModal();
      else this.dialog.show();
    }
    const field = this.fields.get(name);
    if (field && this.research.contains(field.root)) this.research.open = true;
    (field?.inputs[0] ?? this.presets.select).focus();
  }

  openMember(opener, name) {
    this.open(opener, "members");
    this.fields.get("members").openCard(name);
  }

  /** Open at the first field that is wrong. */
  showFaults() {
    const name = [...this.fields.keys()].find((field) => this.faults?.[field]);
    if (name) this.open(document.activeElement, name);
  }
}
