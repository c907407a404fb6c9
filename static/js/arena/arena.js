// The Arena: its component's value -> two cards, the vote, the names.

import { StreamReader } from "../answer/stream.js";
import { viewChoices, VIEWS } from "../answer/views.js";
import { BattleCard, LIVE, SIDES } from "./battle_card.js";
import { BattleList } from "./battle_list.js";
import { BattleReasons } from "./battle_reasons.js";
import { BattleTold } from "./battle_told.js";
import { BattleVotes } from "./battle_votes.js";
import { Awaited, QUESTION } from "../settings/awaited.js";
import { asking, BATTLE, oncePerFrame, parseJson, readKeptHere, visitorKey, writeKeptHere } from "../page/browser.js";
import { keepConsent } from "./consent.js";
import { leaveField } from "../page/elements.js";
import { onLoaded } from "../page/loaded.js";
import { lookAgain } from "../page/members.js";
import { said, t } from "../page/words.js";

const PHONE = matchMedia("(max-width: 640px)");
const SAVING_MS = 1500, SILENT_MS = 20_000;
const UNJUDGED = [...LIVE, "answered"]; // phases in which it can be judged

class Arena {
  /** `server` and `trigger` are Gradio's: calls of Python's functions, and events. */
  constructor(root, server, trigger) {
    Object.assign(this, { root, ask: asking(server), trigger, run: null, state: null, isBusy: false });
    this.part = (name) => root.querySelector(`.gac-${name}`);
    this.form = this.part("arena-form");
    this.reader = new StreamReader((run) => this.start(run), (line) => this.take(line));
    this.votes = new BattleVotes(this.part("arena-bar"), {
      onVote: (outcome) => this.call("vote_battle", { outcome }),
      onStop: () => this.call("stop_battle"),
      onSkip: () => this.call("skip_battle"),
      onAgain: () => this.again(),
    });
    this.reasons = new BattleReasons(this.part("arena-reasons").querySelector("form"), async (fields) => (await this.call("remark_battle", fields, true)).error);
    this.own = new BattleList(this.part("arena-own"), this.ask, {
      onOpen: (battle) => this.send("follow", { battle }),
      onDeleted: (battle) => { if (battle === this.run?.id) this.start(null); },
    });
    this.told = new BattleTold(this);
    this.awaited = new Awaited("arena", { box: () => this.form.elements.prompt, ask: () => this.form.requestSubmit(), onChange: () => this.refresh() });
    this.form.elements.prompt.value ||= this.awaited.draft; // a reload has emptied it
    this.listen();
    this.showViews();
    this.refresh();
  }

  listen() {
    const box = this.form.elements.prompt, asked = this.root.dataset.consent;
    keepConsent(this.form.elements.consents, asked);
    this.part("arena-consent").hidden = asked === "off";
    const grow = () => { box.style.height = "auto"; box.style.height = `${box.scrollHeight}px`; };
    box.addEventListener("input", grow);
    box.addEventListener("keydown", (event) => {
      leaveField(event);
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.form.requestSubmit();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit(box.value);
      grow();
    });
  }

  /** Do something about the battle that is shown, and show what came of it; the reply. `isQuiet`: errors are the caller's. */
  async call(name, fields = {}, isQuiet = false) {
    if (!isQuiet && this.isCalling) return {};
    this.isCalling ||= !isQuiet;
    const id = fields.battle ?? this.run.id, reply = await this.ask(name, { battle: id, version: this.state?.version, ...fields });
    if (!isQuiet) {
      this.isCalling = false;
      this.say(reply.error ?? "");
      if (reply.error) this.catchUp(id);
    }
    if (this.run?.id === id && reply.state) this.show(reply.state);
    return reply;
  }

  /** Something was refused: see how the battle stands, and wait for a database that is busy. */
  async catchUp(battle) {
    const reply = await this.ask("look_battle", { battle });
    if (this.run?.id !== battle || !reply.state) return;
    if (reply.state.version > this.state?.version && UNJUDGED.includes(reply.state.phase)) return this.trigger("follow", { key: visitorKey(), battle }); // a further turn, asked in another tab
    this.show(reply.state);
    if (reply.state.is_saving) setTimeout(() => this.catchUp(battle), SAVING_MS);
  }

  // ---- what people ask for

  get isOpen() {
    return Boolean(this.state) && UNJUDGED.includes(this.state.phase);
  }

  /** Both last answers are alike to the letter. */
  get isSame() {
    const [left, right] = this.cards.map((card) => card.answer.whole);
    return left !== "" && left === right;
  }

  submit(prompt) {
    if (this.isBusy || (this.state && LIVE.includes(this.state.phase)) || this.awaited.hold()) return;
    if (this.isOpen) this.send("next", { battle: this.run.id, prompt });
    else this.begin({ prompt, again: "" });
  }

  /** The battle's prompt, answered by a pair drawn anew; without a vote the server gives this one up then. */
  again() {
    if (this.isBusy || this.isCalling) return;
    this.begin({ prompt: this.run.turns[0]?.prompt ?? this.run.prompt, again: this.run.id });
  }

  begin(fields) {
    this.send("start", { ...fields, consents: this.form.elements.consents.checked });
  }

  send(event, fields) {
    Object.assign(this, { isBusy: true, asked: fields.prompt });
    this.say("");
    this.reasons.save();
    this.refresh();
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.giveUp(), SILENT_MS);
    this.trigger(event, { key: visitorKey(), ...fields });
  }

  /** The server has begun anew, and its members load: what was asked waits. */
  wait() {
    if (this.asked && this.form.elements.prompt.value === this.asked) {
      this.awaited.refused(QUESTION);
      this.say("");
    }
    lookAgain();
  }

  /** Nothing came: the host refused, or is gone. */
  giveUp() {
    if (!this.isBusy) return;
    this.isBusy = false;
    this.say(t("server.silent"));
    this.refresh();
  }

  // ---- what comes from the server

  feed(value) {
    const refusal = value.startsWith('{"error"') ? parseJson(value, null) : null;
    if (!refusal) return this.reader.feed(value);
    this.isBusy = false;
    this.say(refusal.error);
    if (refusal.passes) this.wait();
    if (!this.run) writeKeptHere(BATTLE, "");
    this.refresh();
  }

  start(run) {
    const isNext = run && run.id === this.run?.id;
    Object.assign(this, { run, state: null, isBusy: false });
    this.told.clear();
    this.root.dataset.state = run ? "battle" : "empty";
    this.part("arena-stage").hidden = !run;
    this.part("arena-about").hidden = Boolean(run);
    this.votes.show(null);
    if (!isNext) Object.assign(this.part("arena-reasons"), { hidden: true, open: false });
    writeKeptHere(BATTLE, run?.id ?? "");
    if (!run) return this.refresh();
    this.part("arena-asked").textContent = run.prompt;
    this.cards = SIDES.map((_, index) => new BattleCard(index, run.turns, run.prompt));
    this.part("arena-cards").replaceChildren(...this.cards.map((card) => card.root));
    const { prompt } = this.form.elements;
    if (prompt.value === this.asked) Object.assign(prompt, { value: "" }).style.height = ""; // no draft, nor what waits
    this.awaited.keepDraft(prompt.value);
    this.part("arena-views").replaceChildren();
    if (PHONE.matches && !run.turns.length) this.part("arena-asked").scrollIntoView(); // both cards in sight
  }

  take(line) {
    if (Array.isArray(line)) this.cards[line[0]].answer.append(line[1]);
    else if (line.state) this.show(line.state);
  }

  /** All lines that came are taken: write them. */
  flush() {
    if (!this.run || !this.state) return;
    for (const card of this.cards) {
      card.show(this.state);
      card.flush();
    }
  }

  show(state) {
    const before = this.state;
    // An older state may come later, by another way.
    if (before && (state.version < before.version || before.phase === "revealed")) return;
    if (!before && LIVE.includes(state.phase)) this.ask("seen_battle", { battle: state.id });
    this.state = state;
    if (!state.is_saving) this.isSlow = false;
    else if (!before?.is_saving) setTimeout(() => { this.isSlow = this.state?.is_saving; this.refresh(); }, SAVING_MS);
    for (const card of this.cards) card.show(state);
    this.votes.show(state);
    const isJudged = state.phase === "revealed";
    const { prompt } = this.form.elements;
    if (!before && document.activeElement === prompt && !prompt.value) this.votes.focus(); // so that the keys vote; who comes back types the next
    if (isJudged) this.reasons.start(state.id, state.remark);
    this.part("arena-reasons").hidden = !isJudged;
    this.refresh();
    this.flush();
    if (state.contestants && !before?.contestants) this.told.reveal(state.contestants);
    if (state.contestants || state.phase === "skipped") this.own.refresh();
  }

  // ---- how it looks

  /** Before the names are told nothing shows tokens. */
  showViews() {
    this.part("arena-views").replaceChildren(...viewChoices("gac-arena-view", VIEWS, (id) => this.told.chosen.setView(id)));
    this.part("arena-views").querySelector(`[value=${this.root.dataset.view}]`).checked = true;
  }

  say(text) {
    const note = this.part("arena-note");
    note.textContent = text && said(text);
    note.hidden = !text;
  }

  refresh() {
    const { state, form } = this, isLive = Boolean(state) && LIVE.includes(state.phase);
    const send = form.querySelector("button");
    send.textContent = t(this.awaited.isOn ? "cancel" : this.isOpen ? "card.continue" : "arena.start");
    send.disabled = this.isBusy || isLive;
    form.elements.prompt.placeholder = t(this.isOpen ? "arena.placeholder.next" : state ? "arena.placeholder.new" : "arena.placeholder");
    this.part("arena-hint").replaceChildren(...(this.awaited.isOn ? [t("status.awaits-members")] : this.isBusy && !state ? [t("status.starting")] : this.isOpen ? [t("arena.hint.next")] : []));
    this.part("status").textContent = this.isBusy ? t("status.starting") : !state ? "" : this.words(state);
  }

  words({ phase, place, message, is_saving: isSaving }) {
    if (isSaving) return this.isSlow ? t("arena.saving") : "";
    if (phase === "waiting") return place ? t("status.queue", { place }) : t("status.starting");
    return { answering: t("arena.answering"), answered: t(!message && this.isSame ? "arena.same" : "arena.answered"), revealed: this.told.hasTokens ? t("arena.told.tokens") : "" }[phase] ?? "";
  }
}

let arena = null;

export function start({ element, props, server, trigger, watch }) {
  arena = new Arena(element.querySelector(".gac-arena"), server, trigger);
  watch("value", oncePerFrame(() => {
    arena.feed(props.value ?? "");
    arena.flush();
  }));
  const kept = readKeptHere(BATTLE, "");
  if (typeof kept === "string" && kept) onLoaded(() => { if (!arena.run) arena.send("follow", { battle: kept }); });
}

/** The tab is chosen: what is painted is its own again. */
export function showArena() {
  if (!arena) return;
  arena.told.chosen.setView();
  arena.own.refresh();
}

/** All that the visitor did was deleted. */
export function clearArena() {
  if (!arena) return;
  arena.start(null);
  arena.own.refresh();
}
