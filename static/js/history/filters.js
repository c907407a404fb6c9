// What of the history is asked for.

import { h, shortName } from "../page/elements.js";
import { startOf } from "../page/numbers.js";
import { t } from "../page/words.js";

const SEARCH_MS = 250;

/** A vote in words. */
const OUTCOMES = { ensemble: "outcome.ensemble", beside: "outcome.beside", tie: "vote.tie", "all-bad": "vote.all-bad" };

export const outcomeWords = (outcome) => (outcome.startsWith("member:") ? t("vote.best", { name: shortName(outcome.slice(7)) }) : t(OUTCOMES[outcome]));

export class HistoryFilters {
  /** `onChange()` is called when the list has to be asked for anew. */
  constructor(form, onChange) {
    Object.assign(this, { form, fields: form.elements, timer: 0, members: "" });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(onChange, SEARCH_MS);
    });
    const toggle = form.querySelector("[data-act=filters]"), panel = form.querySelector(".gac-history-filters");
    toggle.addEventListener("click", () => {
      panel.hidden = !panel.hidden;
      toggle.setAttribute("aria-expanded", String(!panel.hidden));
    });
    form.querySelector("[data-act=no-filters]").addEventListener("click", () => {
      const search = this.fields.search.value;
      form.reset();
      this.fields.search.value = search;
      onChange();
    });
    this.offer([]);
  }

  /** The members that a run can have had and a vote can name. */
  offer(members) {
    if (this.members === members.join()) return;
    this.members = members.join();
    const fill = (select, options) => {
      const { value } = select;
      select.replaceChildren(...options.map(([id, text]) => h("option", { value: id, text })));
      select.value = options.some(([id]) => id === value) ? value : "";
    };
    fill(this.fields.member, [["", t("history.any")], ...members.map((name) => [name, name])]);
    fill(this.fields.outcome, [["", t("history.any")], ["voted", t("history.voted")], ["none", t("history.not-voted")], ["ensemble", outcomeWords("ensemble")],
      ...members.map((name) => [`member:${name}`, outcomeWords(`member:${name}`)]), ["beside", outcomeWords("beside")], ["tie", outcomeWords("tie")], ["all-bad", outcomeWords("all-bad")]]);
  }

  /** For the server; days are the visitor's own. */
  value() {
    const { search, outcome, mode, member, from, to, sort, starred } = this.fields;
    return {
      search: search.value, outcome: outcome.value, mode: mode.value, member: member.value, sort: sort.value, is_starred: starred.checked,
      since: startOf(from.value), before: startOf(to.value, 1),
    };
  }

  get isAny() {
    const { search, from, to, starred, outcome, mode, member } = this.fields;
    return [search, from, to, outcome, mode, member].some((field) => field.value) || starred.checked;
  }
}
