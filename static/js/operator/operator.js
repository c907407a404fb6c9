// The operator's page: asks with the token, which only this page's memory holds, and draws what comes back.

import { h } from "../page/elements.js";
import { number } from "../page/numbers.js";
import { said, t, translate } from "../page/words.js";

const DARK = matchMedia("(prefers-color-scheme: dark)");

export function start({ element }) {
  translate(element);
  const follow = () => document.body.classList.toggle("dark", DARK.matches);
  DARK.addEventListener("change", follow);
  follow();
  return new OperatorPage(element);
}

class OperatorPage {
  constructor(element) {
    Object.assign(this, { element, token: "", part: (name) => element.querySelector(`.gac-operator-${name}`) });
    this.door = this.part("door");
    this.controls = this.part("controls");
    this.door.addEventListener("submit", (event) => {
      event.preventDefault();
      this.token = this.door.elements.token.value;
      this.ask("overview");
    });
    this.controls.addEventListener("submit", (event) => {
      event.preventDefault();
      const weights = Object.fromEntries([...this.controls.querySelectorAll("[data-name]")].map((field) => [field.dataset.name, field.valueAsNumber]));
      const { is_paused: isPaused, battles_per_day: perDay } = this.controls.elements;
      this.ask("controls", { is_paused: isPaused.checked, battles_per_day: perDay.valueAsNumber, weights });
    });
    this.part("span").addEventListener("submit", (event) => {
      event.preventDefault();
      this.judgeSpan(event.submitter.value);
    });
  }

  /** Judge the votes of a time. */
  judgeSpan(verdict) {
    const { since, before, contestant } = this.part("span").elements;
    this.ask("verdict", { since: momentOf(since), before: momentOf(before), contestant: contestant.value, verdict });
  }

  /** Ask the server, which answers with the whole overview; or say what is wrong. */
  async ask(path, body) {
    const note = this.part("note");
    note.textContent = ""; // a screen reader hears the next one, though it says the same
    this.element.setAttribute("aria-busy", "true");
    try {
      const options = body ? { method: "POST", body: JSON.stringify(body) } : {};
      const answer = await fetch(`operator/${path}`, { ...options, headers: { Authorization: `Bearer ${this.token}` }, cache: "no-store" });
      const reply = answer.headers.get("content-type")?.startsWith("application/json") ? await answer.json() : {};
      if (answer.ok) this.draw(reply, path !== "verdict"); // which leaves controls that are not saved yet
      note.textContent = answer.ok ? body ? t("keep.saved") : "" : said(reply.error ?? reply.detail ?? t("server.silent"));
    } catch {
      note.textContent = t("server.silent");
    }
    this.element.removeAttribute("aria-busy");
  }

  draw(seen, hasControls) {
    const { controls } = this, tableOf = (by) => this.element.querySelector(`[data-by="${by}"]`);
    this.door.hidden = true;
    this.part("inside").hidden = false;
    this.part("counts").textContent = [t("rank.votes.n", { n: seen.num_votes }), t("operator.flagged.n", { n: seen.num_flagged }), t("operator.today", { count: seen.num_today })].join(" · ");
    if (hasControls) {
      controls.elements.is_paused.checked = seen.controls.is_paused;
      controls.elements.battles_per_day.value = seen.controls.battles_per_day;
      this.part("weights").replaceChildren(...seen.contestants.map((name) => h("label", {}, h("bdi", { text: name }), " ",
        h("input", { type: "number", min: 0, max: 100, step: "any", required: true, "data-name": name, value: seen.controls.weights[name] ?? 1 }))));
    }
    const { contestant } = this.part("span").elements, listed = [...contestant.options].map(({ value }) => value);
    const names = [...new Set([...seen.contestants, ...seen.pairs.flatMap((pair) => pair.names)])].filter((name) => !listed.includes(name));
    contestant.append(...names.map((name) => h("option", { value: name, text: name }))); // the chosen one stays chosen
    tableOf("rating").replaceChildren(h("table", {}, h("tbody", {}, ...Object.entries(seen.ratings).map(([name, rating]) => h("tr", {},
      h("th", { scope: "row" }, h("bdi", { text: name })), h("td", { text: number(rating) }))))));
    tableOf("pair").replaceChildren(h("table", {}, h("tbody", {}, ...seen.pairs.map(pairOf))));
  }
}

const momentOf = ({ value }) => new Date(value).toISOString();

const pairOf = ({ names, num, num_flagged: flagged }) => h("tr", {},
  h("th", { scope: "row" }, h("bdi", { text: names[0] }), " · ", h("bdi", { text: names[1] })), h("td", { text: number(num) }), h("td", { text: t("operator.flagged.n", { n: flagged }) }));
