// Glue: the component's value -> cards, status, inspector, votes. `element`, `server`, `trigger`, `props` and `watch`
// are Gradio's.

const STATUS_MS = 1000; // a screen reader hears the status line at most this often
const PATIENCE_MS = 8000; // how long a stopped run may take to say that it ended
const SAVING_MS = 3000, SAVING_ATTEMPTS = 20; // longer than the server tries to store a run

class Board {
  constructor(root) {
    this.root = root;
    this.part = (name) => root.querySelector(`.gac-${name}`);
    this.run = null;
    this.isBusy = false; // something was asked for and nothing came yet
    this.reader = new StreamReader((run) => this.start(run), (line) => this.take(line));
    this.votes = new Votes(this.part("votes"),
      (outcome) => server.vote_run(this.request({ outcome })), () => server.undo_vote(this.request({})));
    this.inspector = new Inspector(this.part("inspector"),
      (stream, position) => server.inspect_step(this.request({ stream: stream.key, position })), {
        onBranch: (position, token) => this.ask("branch", { run: this.run.id, position, token }),
        onMove: (step) => this.move(step),
        onClose: () => this.close(),
        onShown: () => this.place && this.cards[this.place.stream.index].tokens.reveal(this.place.index),
      });
    listenToKeys(root, {
      onGated: (step) => this.nextGated(step), onClose: () => this.close(), onVote: (key) => Boolean(this.run) && this.votes.onKey(key),
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
    this.run = run;
    this.isBusy = false;
    this.done = null;
    this.phase = { status: run?.is_live ? "running" : "", place: 0 };
    this.startedAt = performance.now();
    this.root.dataset.state = run ? "run" : "empty";
    this.part("stage").hidden = !run;
    this.part("empty").hidden = Boolean(run);
    this.inspector.clear(run);
    this.place = null;
    if (run) this.build(run);
    this.refresh(true);
  }

  build(run) {
    this.root.classList.toggle("is-again", run.is_again);
    this.setView(run.mode === "every-step" ? "winner" : "gate");
    this.streams = run.streams.map((key, index) => new Stream(index, key, index - 1));
    this.cards = this.streams.map((stream) => this.card(stream, run));
    this.ensemble = this.cards[0];
    this.cards[0].views.querySelector(`[value=${this.root.dataset.view}]`).checked = true;
    const members = h("div", { class: "gac-members", "data-count": run.members.length }, ...this.cards.slice(1).map((card) => card.root));
    this.part("answers").replaceChildren(this.ensemble.root, members);
    this.part("asked").replaceChildren(...this.asked(run));
    this.votes.start(run);
  }

  card(stream, run) {
    const actions = {
      onVisit: (index) => { if (this.inspector.isOpen) this.inspect(stream, index, true); },
      onInspect: (index) => this.inspect(stream, index),
      onView: (view) => this.setView(view),
      onNext: () => this.nextGated(1),
    };
    return stream.member < 0 ? new EnsembleCard(stream, run, actions) : new MemberCard(stream, run.members[stream.member], actions);
  }

  asked(run) {
    const act = (text, title, onclick) => h("button", { type: "button", class: "gac-icon", text, title, onclick });
    return [
      h("h2", { dir: "auto", text: run.prompt }),
      run.parent ? h("p", { class: "gac-small" }, `Branched at token ${run.branch_position + 1} of an earlier run. `,
        act("Open the original", "Show the run that this one branched from", () => this.ask("open", { run: run.parent }))) : null,
      act("Run again", "Run this prompt again with the same settings", () => this.ask("rerun", { run: run.id })),
      h("p", { class: "gac-small gac-ran-with", text: `Settings of this run: ${run.settings}`, hidden: true }),
    ].filter(Boolean);
  }

  take(line) {
    if (Array.isArray(line)) {
      this.cards[line[0]].append(this.streams[line[0]].add(line));
    } else if (line.end) {
      const [index, end] = line.end;
      this.streams[index].end = end;
      this.cards[index].finish(end);
    } else if (line.fork) {
      this.cards[line.fork[0]].markFork(line.fork[1]);
    } else if (line.phase) {
      this.phase = line.phase;
    } else if (line.done) {
      this.finish(line.done);
    }
  }

  finish(done) {
    this.done = done;
    for (const card of this.cards) if (["waiting", "streaming"].includes(card.root.dataset.state)) card.root.dataset.state = "finished";
    this.refresh(true);
    if (done.saved === null) this.awaitSaving(this.run.id);
  }

  /** The database is busy or away: ask now and then what became of the run. */
  async awaitSaving(id) {
    for (let left = SAVING_ATTEMPTS; left && this.run?.id === id && this.done?.saved === null; left -= 1) {
      await new Promise((wake) => setTimeout(wake, SAVING_MS));
      const reply = await server.saved_run({ key: visitorKey(), run: id });
      if (this.run?.id !== id || !this.done || !reply || reply.error) continue;
      this.done.saved = reply.saved;
      this.refresh(true);
    }
  }

  // ---- what people do

  setView(view) {
    this.root.dataset.view = view;
  }

  inspect(stream, index, isLater = false) {
    if (this.place) this.cards[this.place.stream.index].tokens.select(null);
    this.place = { stream, index };
    this.cards[stream.index].tokens.select(index);
    this.ensemble.plot.select(stream.index === 0 ? index : null);
    this.inspector.show(stream, index, isLater);
  }

  move(step) {
    const { stream, index } = this.place;
    const next = index + step;
    if (next < 0 || next >= stream.tokens.length) return;
    this.inspect(stream, next);
    this.cards[stream.index].tokens.setCurrent(next);
  }

  nextGated(step) {
    if (!this.run) return false;
    const gated = this.streams[0].tokens.filter((token) => token.isGated).map((token) => token.index);
    if (!gated.length) return false;
    const from = this.place?.stream.index === 0 ? this.place.index : step > 0 ? -1 : Infinity;
    const next = step > 0 ? gated.find((index) => index > from) ?? gated[0] : gated.findLast((index) => index < from) ?? gated.at(-1);
    this.ensemble.tokens.focus(next);
    this.inspect(this.streams[0], next);
    return true;
  }

  /** Closes the topmost thing that is open; false if nothing was. */
  close() {
    const expanded = this.cards?.find((card) => card.root.classList.contains("is-expanded"));
    if (this.inspector.isOpen) {
      const { stream, index } = this.place;
      this.inspector.close();
      this.ensemble.plot.select(null);
      this.cards[stream.index].tokens.select(null);
      this.cards[stream.index].tokens.focus(index);
      this.place = null;
    } else if (expanded) {
      expanded.expand(false);
    } else {
      return false;
    }
    return true;
  }

  async stop() {
    if (this.isLive) await server.stop_run(this.request({}));
  }

  /** End a run that still streams, and make ready for the next. */
  async clear() {
    if (this.isLive) {
      await this.stop();
      const until = performance.now() + PATIENCE_MS;
      while (this.isLive && performance.now() < until) await new Promise((wake) => setTimeout(wake, 50));
    }
  }

  /** Something was asked for: say so until it comes. */
  expect() {
    this.isBusy = true;
    this.askedAt = performance.now();
    this.refresh(true);
  }

  async ask(event, fields) {
    if (this.isBusy) return;
    await this.clear();
    this.expect();
    const data = { key: visitorKey(), ...fields };
    // Each name stands in quotes because Gradio looks for it there.
    if (event === 'branch') trigger('branch', data);
    else if (event === 'rerun') trigger('rerun', data);
    else trigger('open', data);
  }

  // ---- the status line

  refresh(isNow = false) {
    document.body.classList.toggle("gac-is-live", this.isLive);
    document.body.classList.toggle("gac-has-run", Boolean(this.run));
    this.refreshSettings();
    if (this.run && (this.isLive || isNow)) {
      for (const card of this.cards.slice(1)) card.refresh();
      this.ensemble.refresh(this.streams.slice(1));
    }
    const now = performance.now(), text = this.status();
    if (text === this.part("status").textContent || (!isNow && now - (this.saidAt ?? 0) < STATUS_MS)) return;
    this.saidAt = now;
    this.part("status").textContent = text;
  }

  /** A run made with other settings than those that stand under the prompt says so. */
  refreshSettings() {
    const line = this.root.querySelector(".gac-ran-with"), next = document.querySelector("#gac-summary")?.textContent.trim();
    if (line && this.run) line.hidden = next === `Settings: ${this.run.settings}`;
  }

  status() {
    if (this.isBusy) return performance.now() - this.askedAt > PATIENCE_MS ? "Still waiting for the server…" : "Starting…";
    if (!this.run) return "";
    if (this.phase.status === "waiting" && this.isLive) return `In the queue, ${this.phase.place} ahead`;
    const tokens = plural(this.streams.reduce((sum, stream) => sum + stream.tokens.length, 0), "token");
    if (this.isLive) return this.streams[0].tokens.length ? `Writing · ${tokens} · ${Math.round((performance.now() - this.startedAt) / 1000)} s` : "Reading the prompt…";
    const took = Math.max(0, ...this.streams.map((stream) => stream.end?.seconds ?? 0));
    const word = { finished: "Finished", aborted: "Stopped", failed: "Failed", interrupted: "Interrupted" }[this.done.status] ?? this.done.status;
    return [word, tokens, took ? seconds(took) : null, { false: "not saved", null: "not saved yet" }[this.done.saved]].filter(Boolean).join(" · ");
  }
}

const board = new Board(element.querySelector(".gac-board"));
let isPending = false;
function update() {
  if (isPending) return;
  isPending = true;
  requestAnimationFrame(() => {
    isPending = false;
    board.reader.feed(props.value ?? "");
  });
}
watch("value", update);
update();

// What the other parts of the page need of the board.
Object.assign(window.gac, {
  visitorKey,
  stop: () => board.stop(),
  clear: () => board.clear(),
  expect: () => board.expect(),
  settle: () => { board.isBusy = false; board.refresh(true); },
  focusPrompt: () => document.querySelector("#gac-prompt textarea")?.focus(),
  isShowing: (runId) => board.run?.id === runId,
});
