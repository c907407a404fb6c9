// One control for each kind of setting. A field shows a value, says what is chosen or what is wrong with it, and
// goes where it has no effect.

import { h, wholeName } from "../page/elements.js";
import { LOCALE, said, t } from "../page/words.js";

const ALWAYS = 101; // the place of a share's "always", above 100 %

export class SettingField {
  /** `spec`: see gac_app/ui/settings/fields.py; `onChange(value)`: null for a number that was cleared. */
  constructor(spec, onChange) {
    Object.assign(this, { spec, onChange });
    this.id = `gac-set-${spec.name}`;
    this.note = h("p", { class: "gac-field-note is-fault", id: `${this.id}-note`, role: "status" });
    this.controls = this.build();
    const info = spec.info ? h("p", { class: "gac-small", id: `${this.id}-info`, text: said(spec.info) }) : null;
    this.root = h("fieldset", { class: "gac-field", "data-name": spec.name, "data-kind": spec.kind },
      this.isGrouped ? h("legend", { text: said(spec.label) }) : h("label", { for: this.id, text: said(spec.label) }),
      ...this.controls, info, this.note);
    for (const input of this.inputs) input.setAttribute("aria-describedby", [info?.id, this.note.id].filter(Boolean).join(" "));
  }

  get isGrouped() {
    return false;
  }

  get inputs() {
    return [this.input];
  }

  /** Whether it has an effect, and what is wrong. */
  tell(idle, fault) {
    this.root.hidden = idle.includes(this.spec.name);
    this.note.textContent = said(fault);
    for (const input of this.inputs) input.setAttribute("aria-invalid", String(Boolean(fault)));
  }
}

class ChoiceField extends SettingField {
  build() {
    return this.spec.choices.map(([value, text]) => h("label", { class: "gac-choice" },
      h("input", { type: "radio", name: this.id, value, onchange: () => this.onChange(value) }), h("span", { text: said(text) })));
  }

  get isGrouped() {
    return true;
  }

  get inputs() {
    return this.controls.map((label) => label.firstChild);
  }

  show(value) {
    for (const input of this.inputs) input.checked = input.value === String(value);
  }
}

class NumberField extends SettingField {
  build() {
    const { kind, min } = this.spec;
    this.input = numberInput(this.id, kind === "whole" ? 1 : "any", min, (value) => this.onChange(value));
    return [this.input];
  }

  show(value) {
    this.input.value = value ?? "";
  }
}

class ShareField extends SettingField {
  build() {
    const { always, above, min } = this.spec;
    this.input = h("input", { type: "range", id: this.id, min: above || min > 0 ? 1 : 0, max: always ? ALWAYS : 100, step: 1,
      oninput: () => { this.onChange(this.input.valueAsNumber / 100); this.say(); } });
    this.output = h("output", { for: this.id });
    return [h("div", { class: "gac-share" }, this.input, this.output)];
  }

  show(value) {
    this.input.value = Math.round(value * 100);
    this.say(value);
  }

  say(value = this.input.valueAsNumber / 100) {
    const text = value > 1 ? said(this.spec.always) : `${(+(value * 100).toFixed(1)).toLocaleString(LOCALE)} %`;
    this.output.textContent = text;
    this.input.setAttribute("aria-valuetext", text);
  }
}

class TextField extends SettingField {
  build() {
    this.input = h("textarea", { id: this.id, rows: 2, placeholder: t("none"), dir: "auto", oninput: () => this.onChange(this.input.value) });
    return [this.input];
  }

  show(value) {
    this.input.value = value;
  }
}

class WeightsField extends SettingField {
  build() {
    this.values = {};
    return this.spec.members.map((name, index) => h("label", { class: "gac-weight-of" }, wholeName(name, index),
      numberInput(null, "any", 0, (value) => { this.values[name] = value; this.onChange({ ...this.values }); })));
  }

  get isGrouped() {
    return true;
  }

  get inputs() {
    return this.controls.map((label) => label.lastChild);
  }

  show(values) {
    this.values = { ...values };
    this.inputs.forEach((input, index) => { input.value = values[this.spec.members[index]] ?? ""; });
  }
}

/** Tells of a cleared field, or of what is no number, as null. */
const numberInput = (id, step, min, onChange) => h("input", { type: "number", id, step, min, inputmode: step === 1 ? "numeric" : "decimal",
  oninput: ({ target: { valueAsNumber: value } }) => onChange(Number.isNaN(value) ? null : value) });

export const FIELD_KINDS = { choice: ChoiceField, number: NumberField, whole: NumberField, share: ShareField, lines: TextField, text: TextField, weights: WeightsField };
