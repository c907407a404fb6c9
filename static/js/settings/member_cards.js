// The members as cards: which take part, which is the gate, and what each is.

import { h, wholeName } from "../page/elements.js";
import { said, t } from "../page/words.js";
import { factsOf, onFacts } from "./facts.js";
import { SettingField } from "./fields.js";

export class MembersField extends SettingField {
  build() {
    this.cards = this.spec.members.map((name, index) => this.card(name, index));
    onFacts(() => this.showFacts());
    return this.cards.map(({ root }) => root);
  }

  card(name, index) {
    const isOn = h("input", { type: "checkbox", onchange: () => this.choose() });
    const isGate = h("input", { type: "radio", name: "gac-set-gate", value: name, "aria-label": t("member.is-gate", { name }), onchange: () => this.onChange(name, "gate") });
    const brief = h("p", { class: "gac-small" }), facts = h("dl", { class: "gac-facts" });
    const more = h("details", { hidden: true }, h("summary", { text: t("member.card"), "aria-label": t("member.card.of", { name }) }), facts);
    const root = h("div", { class: "gac-member", "data-member": name },
      h("label", { class: "gac-choice" }, isOn, wholeName(name, index)), h("label", { class: "gac-choice gac-is-gate" }, isGate, h("span", { text: t("member.gate") })),
      brief, more);
    return { name, isOn, isGate, brief, facts, more, root };
  }

  get isGrouped() {
    return true;
  }

  get inputs() {
    return this.cards.map(({ isOn }) => isOn);
  }

  choose() {
    const on = this.cards.filter(({ isOn }) => isOn.checked).map(({ name }) => name);
    const gate = this.cards.find(({ isGate }) => isGate.checked)?.name;
    if (on.length && !on.includes(gate)) {
      this.cards.find(({ name }) => name === on[0]).isGate.checked = true;
      this.onChange(on[0], "gate");
    }
    this.onChange(on);
  }

  show(names, { gate }) {
    for (const card of this.cards) {
      card.isOn.checked = names.includes(card.name);
      card.isGate.checked = card.name === gate;
    }
    this.showFacts();
  }

  showFacts() {
    for (const { name, brief, facts, more } of this.cards) {
      const known = factsOf(name);
      brief.textContent = known.filter(([, , isBrief]) => isBrief).map(([, value]) => said(value)).join(" · ");
      facts.replaceChildren(...known.map(([label, value]) => h("div", {}, h("dt", { text: said(label) }), h("dd", { text: said(value) }))));
      more.hidden = !known.length;
    }
  }

  openCard(name) {
    const card = this.cards.find((found) => found.name === name);
    if (!card) return;
    card.more.open = true;
    card.isOn.focus();
    card.root.scrollIntoView({ block: "nearest" });
  }

  tell(idle, fault) {
    super.tell(idle, fault);
    for (const { isOn, isGate } of this.cards) isGate.closest("label").hidden = idle.includes("gate") || !isOn.checked;
  }
}
