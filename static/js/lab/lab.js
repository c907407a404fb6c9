// The Lab: a form for a study, its progress, and the results kept.

import { addressed, follow, tell } from "../page/address.js";
import { asking, keepText, keptText, onceAtATime, parseJson, visitorKey } from "../page/browser.js";
import { h, shortName } from "../page/elements.js";
import { fillFromFile } from "../page/files.js";
import { onLoaded } from "../page/loaded.js";
import { lookAgain } from "../page/members.js";
import { moment, seconds } from "../page/numbers.js";
import { LANGUAGE, said, saidShort, t } from "../page/words.js";
import { Awaited } from "../settings/awaited.js";

const POLL_MS = 1000;
const SET = "gac.lab.set"; // the set of questions chosen last is kept under this key
let lab = null;

export function start(part) {
  lab = new Lab(part);
  const opening = lab.open(); // it brings the studies' titles
  follow("study", (id) => lab.show(id));
  if (addressed("study")) onLoaded(() => opening).then(() => lab.show(addressed("study")));
}

/** The tab is chosen. */
export const refreshLab = () => (lab?.overview ? lab.refresh() : lab?.open());

/** A result was drawn: ask anew if the one that was chosen last came before it. */
export function drew(id) {
  if (id !== lab.shown) lab.show(lab.shown);
}

/** A result's study and what it asked, in a line. */
export function titleOf({ study: name, heading }) {
  const title = said(lab?.overview?.titles[name] ?? name);
  return `${beforeMore(title)} ${saidShort(heading)}`;
}

/** A title that something follows: a colon, where it does not ask. */
const beforeMore = (title) => (title.endsWith("?") ? title : `${title}:`);

class Lab {
  constructor({ element, props, server, trigger, watch }) {
    this.part = (selector) => element.querySelector(selector);
    // known: ids of the results listed, null = not asked yet; isMine: whether the study that runs, or ran last, is this
    // visitor's; isCancelled: and was called off; shown: the result that is looked at; before: ids of the
    // results that were there before the study that runs, if it is this visitor's.
    Object.assign(this, { ask: asking(server), trigger, overview: null, known: null, isMine: false, isCancelled: false, shown: "", before: null, timer: 0 });
    this.form = this.part("form");
    this.own = this.part(".gac-own");
    this.cancel = this.part("[data-act=cancel]");
    this.open = onceAtATime(() => this.prepare()); // the tab may be chosen before the first reply has come
    this.form.addEventListener("submit", (event) => this.begin(event));
    this.form.elements.set.addEventListener("change", ({ target }) => this.chooseSet(target.value));
    this.cancel.addEventListener("click", () => this.callOff());
    this.awaited = new Awaited("lab", { box: () => this.form.elements.own, onChange: () => this.say(this.awaited.isOn ? t("status.awaits-members") : "") });
    this.form.elements.own.value ||= this.awaited.draft;
    watch("value", () => this.answer(parseJson(props.value, null)));
  }

  /** `isOfPoll`: until the next good reply. */
  say(text, isOfPoll = false) {
    this.isOfPoll = isOfPoll;
    this.part(".gac-lab-note").textContent = said(text);
  }

  // ---- the form

  get chosen() {
    return this.overview.studies.find((study) => study.name === this.form.elements.study.value);
  }

  async prepare() {
    const reply = await this.ask("lab_overview");
    if (reply.error) return this.say(reply.error);
    this.overview = reply;
    this.form.hidden = !reply.may_start;
    this.part(".gac-lab-shut").hidden = reply.may_start;
    this.part(".gac-lab-browser").textContent = reply.browser;
    this.part(".gac-lab-studies").replaceChildren(...reply.studies.map((study, index) => h("label", { class: "gac-lab-study" },
      h("input", { type: "radio", name: "study", value: study.name, checked: index === 0, onchange: () => this.choose() }), h("span", { text: said(study.title) }))));
    const { set: sets, questions } = this.form.elements;
    sets.replaceChildren(...reply.sets.map((set) => h("option", { value: set.name, text: `${said(set.name)} (${set.count})` })),
      h("option", { value: reply.own, text: t("lab.own") }));
    const wanted = keptText(SET);
    if ([...sets.options].some((option) => option.value === wanted)) sets.value = wanted;
    questions.value = Math.min(20, reply.max_questions);
    fillFromFile(this.part(".gac-own input[type=file]"), this.form.elements.own, reply.max_own_chars, (text) => this.say(text));
    this.choose();
    await this.refresh();
  }

  choose() {
    const study = this.chosen, asksNothing = study.needs === "nothing";
    this.part(".gac-lab-about").textContent = said(study.about);
    for (const field of [".gac-lab-set", ".gac-lab-count"]) this.part(field).hidden = asksNothing;
    this.form.elements.questions.disabled = asksNothing; // a hidden field must not hold the form up
    this.chooseSet();
  }

  chooseSet(wanted = "") {
    if (wanted && wanted !== this.overview.own) keepText(SET, wanted);
    const { sets, own } = this.overview, { value } = this.form.elements.set;
    this.part(".gac-lab-protocol").textContent = said(sets.find(({ name }) => name === value)?.about);
    this.own.hidden = this.chosen.needs === "nothing" || value !== own;
  }

  begin(event) {
    event.preventDefault();
    const { set, questions, own } = this.form.elements;
    const fields = { study: this.chosen.name, set: set.value, questions: questions.valueAsNumber || 0, own: this.own.hidden ? "" : own.value };
    const asked = { name: JSON.stringify(fields), ask: () => this.send(asked, fields) };
    if (!this.awaited.holdOther(asked)) asked.ask();
  }

  send(asked, fields) {
    this.asked = asked;
    this.say("");
    this.trigger("started", { key: visitorKey(), at: Date.now(), ...fields });
  }

  /** The server took the study, or says why not. */
  async answer(reply) {
    if (!reply) return;
    this.say(reply.error);
    if (reply.passes) {
      this.awaited.refused(this.asked);
      lookAgain();
    }
    if (reply.error) return;
    Object.assign(this, { isMine: true, isCancelled: false, before: this.before ?? new Set() });
    await this.refresh();
  }

  // ---- what runs

  /** What runs and what is kept. A result that is new while a study of this visitor ran is its own: shown at once. */
  async refresh(isChanged = false) {
    clearTimeout(this.timer);
    const { isMine } = this; // a reply on its way from before a study began does not tell of its end
    const state = await this.ask("lab_state"), { known } = this;
    if (!state.results) {
      this.say(state.error, true);
      this.timer = setTimeout(() => this.refresh(), POLL_MS);
      return;
    }
    if (this.isOfPoll) this.say("");
    this.showRunning(state.running);
    const fresh = known && state.results.find((result) => !known.has(result.id) && result.is_mine);
    if (isChanged || !known || fresh || known.size !== state.results.length) {
      this.list(state.results);
      this.trigger("kept");
    }
    if (state.running) this.isMine = state.running.is_mine;
    else if (isMine) {
      this.isMine = false;
      this.say(state.error);
      const result = state.results.find(({ id, is_mine: mine }) => mine && !this.before.has(id));
      if (result) this.show(result.id);
    }
    if (!this.isMine || !this.before) this.before = new Set(state.results.map(({ id }) => id));
    if (state.running) this.timer = setTimeout(() => this.refresh(), POLL_MS);
  }

  showRunning(study) {
    this.part(".gac-lab-running").hidden = !study;
    this.part(".gac-lab-run").disabled = Boolean(study);
    if (!study) return;
    const what = study.set ? `${said(study.title)} (${said(study.set)})` : said(study.title);
    const left = study.seconds_left === null ? "" : t("lab.left", { time: seconds(study.seconds_left) });
    const round = study.round > 1 ? t("lab.round", { round: study.round }) : "";
    const answers = study.num_total ? t("progress", { done: study.num_done, all: study.num_total }) : t("status.starting");
    this.part(".gac-lab-progress").textContent = `${beforeMore(what)} ${this.isCancelled ? t("batch.ending") : [round, answers, left].filter(Boolean).join(", ")}`;
    const bar = this.part("progress");
    if (study.num_total) bar.value = study.num_done / study.num_total;
    else bar.removeAttribute("value");
    this.cancel.hidden = !study.may_cancel;
    this.cancel.disabled = this.isCancelled;
  }

  async callOff() {
    this.isCancelled = this.cancel.disabled = true;
    const reply = await this.ask("lab_cancel");
    if (reply.error) this.say(reply.error);
    this.isCancelled = !reply.error;
    await this.refresh();
  }

  // ---- what is kept

  list(results) {
    if (this.known?.has(this.shown) && results.every(({ id }) => id !== this.shown)) this.show(""); // deleted
    this.known = new Set(results.map((result) => result.id));
    this.part(".gac-lab-empty").hidden = results.length > 0;
    this.part(".gac-lab-kept ol").replaceChildren(...results.map((result) => this.row(result)));
  }

  row(result) {
    const title = titleOf(result), label = result.name || title;
    const facts = [result.name ? title : null, moment(result.created_at), result.members.map(shortName).join(", "), t(result.is_mine ? "lab.yours" : "lab.operators")];
    const item = h("li", {},
      h("button", { type: "button", class: "gac-run-open", onclick: () => this.show(result.id) },
        h("span", { class: "gac-run-prompt", dir: "auto", text: label }),
        h("span", { class: "gac-small", text: facts.filter(Boolean).join(" · ") })));
    if (result.may_edit) {
      item.append(
        h("button", { type: "button", class: "gac-icon", text: t("rename"), "aria-label": t("rename.of", { label }), onclick: () => this.rename(item, result, label) }),
        h("button", { type: "button", class: "gac-icon gac-danger", text: t("delete"), "aria-label": t("delete.of", { label }), onclick: () => this.remove(item, result, label) }));
    }
    return item;
  }

  /** A field in the row's place; Enter keeps the name, Esc does not. */
  rename(item, result, name) {
    const field = h("input", { class: "gac-search", value: name, maxlength: 100, "aria-label": t("name") });
    const keep = async () => {
      const reply = await this.ask("lab_rename", { result: result.id, name: field.value });
      this.say(reply.error ?? "");
      await this.refresh(true);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.refresh(true);
      else if (event.key === "Enter") keep();
    });
    item.replaceChildren(field, h("button", { type: "button", class: "gac-button", text: t("save"), onclick: keep }));
    field.select();
  }

  /** Asks once more, in the row's place. */
  remove(item, result, name) {
    const yes = h("button", { type: "button", class: "gac-button gac-danger", text: t("delete"), onclick: async () => {
      const reply = await this.ask("lab_delete", { result: result.id });
      this.say(reply.error ?? "");
      await this.refresh(true);
    } });
    item.replaceChildren(h("span", { class: "gac-run-open", text: t("lab.delete", { name }) }), yes,
      h("button", { type: "button", class: "gac-button", text: t("keep-it"), onclick: () => this.refresh(true) }));
    yes.focus();
  }

  show(id) {
    this.shown = id;
    tell({ study: id });
    this.trigger("shown", { key: visitorKey(), result: id, said_in: LANGUAGE });
  }
}
