// Glue: the component's value -> cards, status, inspector, votes.

import { Chosen } from "../answer/chosen.js";
import { BESIDE, Stream, StreamReader } from "../answer/stream.js";
import { viewChoices, VIEWS } from "../answer/views.js";
import { tellRefused, tellShown } from "./address.js";
import { Arrangement } from "./arrangement.js";
import { askedParts, originParts, tellSettings } from "./asked.js";
import { newCard } from "./ensemble_card.js";
import { listenToKeys } from "./keyboard.js";
import { Reading } from "./reading.js";
import { Rest } from "./rest.js";
import { awaitSaving, Pulse, STATUS_MS, StatusLine, statusOf, STOP_TIMEOUT_MS, tellPage } from "./status.js";
import { Votes } from "./votes.js";
import { keepMenu } from "../keep/menu.js";
import { addressed, hold } from "../page/address.js";
import { Awaited, QUESTION, UNMEANT_MS } from "../settings/awaited.js";
import { visitorKey } from "../page/browser.js";
import { tellNames } from "../page/elements.js";
import { settings } from "../settings/settings.js";

export class Board {
  /** `server` and `trigger` are Gradio's: calls of Python's functions, and events. */
  constructor(root, server, trigger) {
    Object.assign(this, { root, server, trigger });
    this.part = (name) => root.querySelector(`.gac-${name}`);
    this.run = null;
    this.isBusy = false; // something was asked for and nothing came yet
    this.askedAt = -Infinity; // by performance.now()
    this.reader = new StreamReader((run) => this.start(run), (line) => this.take(line));
    this.awaited = new Awaited("compare", {
      box: () => document.querySelector("#gac-prompt textarea"),
      ask: () => document.querySelector("#gac-prompt .submit-button")?.click(),
      onChange: () => this.refresh(true),
    });
    this.pulse = new Pulse(() => this.reconnect());
    this.status = new StatusLine(this.part("status"), this.part("spoken"));
    this.arrangement = new Arrangement(root, this.part("columns"));
    this.part("views").replaceChildren(...viewChoices("gac-view", VIEWS, (view) => this.chosen.setView(view)));
    this.part("next").addEventListener("click", () => this.nextChange(1));
    this.votes = new Votes(this.part("votes"),
      (outcome) => this.server.vote_run(this.request({ outcome })));
    const asked = (stream) => (stream.key === BESIDE ? { run: this.run.beside.run, stream: "ensemble" } : { stream: stream.key });
    this.chosen = new Chosen(root, (stream, position) => this.server.inspect_step(this.request({ ...asked(stream), position })), {
      tokensOf: (stream) => this.cards[stream.index].tokens,
      onBranch: (position, token) => this.ask("branch", { run: this.run.id, position, token }),
      onSelect: (stream, index) => this.ensemble.plot.select(stream?.index === 0 ? index : null),
    });
    listenToKeys(root, {
      onChange: (step) => this.nextChange(step), onClose: () => this.chosen.close(), onVote: (key) => Boolean(this.run?.is_own) && this.votes.onKey(key),
    });
    setInterval(() => this.refresh(), STATUS_MS / 2);
  }

  request(fields) {
    return { key: visitorKey(), run: this.run.id, ...fields };
  }

  get isLive() {
    return Boolean(this.run) && !this.done;
  }

  // ---- what comes from the server

  start(run) {
    if (this.isBusy && this.asked === QUESTION) this.awaited.keepDraft(""); // a run that is opened asks nothing
    this.run = run;
    this.isBusy = false;
    this.done = null;
    this.over = new Promise((resolve) => { this.tellOver = resolve; });
    this.rest = new Rest(this);
    this.phase = { status: run?.is_live ? "running" : "", place: 0 };
    this.startedAt = performance.now() - 1000 * (run?.age_s ?? 0);
    this.reading = new Reading();
    this.root.dataset.state = run ? "run" : "empty";
    this.part("stage").hidden = !run;
    this.part("empty").hidden = Boolean(run);
    this.chosen.clear(run);
    if (run) this.build(run);
    tellShown(this);
    this.refresh(true);
    this.arrangement.fit();
  }

  build(run) {
    tellNames(run.members); // one may have left the configuration since
    this.root.classList.toggle("is-again", run.is_again);
    this.root.classList.toggle("is-pair", Boolean(run.beside) && run.streams.length === 2);
    this.cards = null;
    this.chosen.setView(VIEWS[0]);
    this.part("views").querySelector("input").checked = true;
    this.part("next").disabled = true;
    const memberOf = (key) => (key === BESIDE ? -1 : run.members.indexOf(key.replace(/^member:/, "")));
    this.streams = run.streams.map((key, index) => new Stream(index, key, memberOf(key)));
    this.cards = this.streams.map((stream) => this.card(stream, run));
    this.ensemble = this.cards[0];
    this.part("answers").replaceChildren(...this.cards.map((card) => card.root));
    this.part("answers").dataset.count = this.cards.length;
    this.part("answers").style.setProperty("--count", this.cards.length);
    this.part("asked").replaceChildren(...askedParts(run, keepMenu(this)));
    this.part("of-run").replaceChildren(...originParts(run, (event, fields) => this.ask(event, fields)));
    this.part("votes").hidden = !run.is_own;
    if (run.is_own) this.votes.start(run);
    this.arrangement.start();
  }

  card(stream, run) {
    const actions = this.chosen.actions(stream, stream.key === BESIDE ? { ...run, mode: run.beside.mode, gate: run.beside.gate } : run);
    return newCard(stream, run, this.chosen.painter, { ...actions, onAsk: (event, fields) => this.ask(event, { run: run.id, ...fields }) });
  }

  take(line) {
    if (Array.isArray(line)) {
      const token = this.streams[line[0]].add(line);
      this.cards[line[0]].append(token);
      if (token.change && line[0] === 0) this.part("next").disabled = false;
    } else if (line.rest) {
      this.rest.add(...line.rest);
    } else if (line.end) {
      const [index, end] = line.end;
      this.streams[index].end = end;
      this.cards[index].finish(end);
    } else if (line.fork) {
      this.cards[line.fork[0]].markFork(line.fork[1]);
    } else if (line.read) {
      this.reading.take(line.read, this.cards);
    } else if (line.phase) this.phase = line.phase;
    else if (line.done) this.finish(line.done);
  }

  /** All lines that came are taken: write them. */
  flush() {
    if (!this.run) return;
    for (const card of this.cards) card.flush();
    if (this.rest.streams.length) this.rest.load();
  }

  finish(done) {
    this.done = done;
    for (const card of this.cards) if (["waiting", "streaming"].includes(card.root.dataset.state)) card.root.dataset.state = "finished";
    const open = this.cards.filter((card) => card.canContinue);
    if (open.length > 1) open[0].offerAll();
    this.refresh(true);
    this.tellOver();
    if (done.saved === null) awaitSaving(this, this.run.id);
  }

  // ---- what people do

  nextChange(step) {
    const changes = this.run ? this.streams[0].tokens.filter((token) => token.change).map((token) => token.index) : [];
    if (!changes.length) return false;
    const { place } = this.chosen, from = place?.stream.index === 0 ? place.index : this.ensemble.tokens.cursor ?? (step > 0 ? -1 : Infinity);
    const next = step > 0 ? changes.find((index) => index > from) ?? changes[0] : changes.findLast((index) => index < from) ?? changes.at(-1);
    this.ensemble.tokens.focus(next);
    this.chosen.inspect(this.streams[0], next);
    return true;
  }

  /** What was asked for was refused; `passes`: only until the members are loaded. Whether it waits for that. */
  settle(passes) {
    const waits = Boolean(passes) && this.isBusy && this.asked !== null;
    if (waits) this.awaited.refused(this.asked);
    this.isBusy = false;
    tellRefused(this);
    this.refresh(true);
    return waits;
  }

  /** The button: one that took the place of Run under the pointer is not meant yet. */
  async stopOnClick() {
    if (this.awaited.isOn) return this.awaited.press(null, true);
    if (this.asked !== QUESTION || performance.now() - this.askedAt > UNMEANT_MS) await this.stop();
  }

  async stop() {
    if (this.isLive) await this.server.stop_run(this.request({}));
  }

  /** End a run that still streams, and make ready for the next. */
  async clear() {
    if (this.isLive) {
      await this.stop();
      const until = performance.now() + STOP_TIMEOUT_MS;
      while (this.isLive && performance.now() < until) await new Promise((wake) => setTimeout(wake, 50));
    }
  }

  /** Something was asked for: say so until it comes. `asked`: what waits if the members turn out to be loading. */
  expect(asked = null) {
    Object.assign(this, { isBusy: true, asked });
    hold();
    this.pulse.hear();
    this.askedAt = performance.now();
    this.refresh(true);
  }

  async ask(event, fields) {
    const asked = { name: JSON.stringify([event, fields]), ask: () => this.ask(event, fields) };
    if (this.isBusy || (event !== "open" && this.awaited.holdOther(asked))) return;
    await this.clear();
    if (this.isBusy) return; // the second click of two
    this.expect(asked);
    this.trigger(event, { key: visitorKey(), ...fields, ...(event === "revise" ? { settings: settings() } : {}) });
  }

  /** The server is there again: a run that was being shown goes on from what it has become; one that has not come is opened. */
  reconnect() {
    const run = this.run ? this.isLive && this.run.id : addressed("run");
    this.settle(false);
    if (!run) return;
    this.expect();
    this.trigger("open", { key: visitorKey(), run });
  }

  refresh(isNow = false) {
    this.pulse.look(this.isLive || this.isBusy);
    tellPage(this);
    tellSettings(this.root, this.run);
    if (this.run && (this.isLive || isNow)) {
      for (const card of this.cards.slice(1)) card.refresh();
      this.ensemble.refresh(this.cards.slice(1).filter(({ stream }) => stream.key !== BESIDE));
    }
    if (this.root.classList.contains("is-live") && !this.isLive) this.arrangement.end(() => this.root.classList.remove("is-live"));
    else this.root.classList.toggle("is-live", this.isLive);
    this.status.show(statusOf(this), isNow);
  }
}
