// The cards: the ensemble's with its views and plot, one per member, each with its own figures and errors.

const VIEWS = [
  ["gate", "Gate", "Where the others were asked"],
  ["winner", "Winner", "Who carried each token"],
  ["confidence", "Confidence", "How sure each token was"],
  ["plain", "Plain", "Text only"],
];
const REASONS = { stop: "", length: "Stopped", abort: "Stopped", error: "Failed" };

/** A member's name with the colour and line style that stand for it everywhere. */
function memberName(name, index) {
  return h("span", { class: "gac-name" }, h("i", { class: "gac-swatch", "data-w": index % 6 }), h("bdi", { text: name }));
}

const DIGITS_SHOWN = 8; // of a digest
const PROOF = {
  true: ["reproducible", "The same models, messages, settings and seed give this digest again"],
  false: ["not reproducible", "With these members, what else runs may show in the last bits; set Reproducible to On"],
};

/** Copies `text` and says so on the button for a moment. */
async function copyBy(button, text, label) {
  await navigator.clipboard.writeText(text);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 1500);
}

class Card {
  /** `title`: a node; `actions`: {onVisit, onInspect} of the tokens. */
  constructor(stream, title, label, actions) {
    this.stream = stream;
    this.tokens = new TokenText(label, actions);
    this.speed = h("span", { class: "gac-speed" });
    this.note = h("p", { class: "gac-card-note", hidden: true });
    this.proof = h("p", { class: "gac-proof" });
    this.copyButton = h("button", { type: "button", class: "gac-icon", title: "Copy this answer", text: "Copy", onclick: () => copyBy(this.copyButton, stream.text, "Copy") });
    this.expandButton = h("button", {
      type: "button", class: "gac-icon", text: "Expand", "aria-expanded": "false", onclick: () => this.expand(),
    });
    this.head = h("header", {}, h("h3", {}, title), this.speed, h("span", { class: "gac-spacer" }), this.copyButton, this.expandButton);
    this.root = h("article", { class: "gac-card", "data-state": "waiting", "aria-label": label }, this.head, this.tokens.root, this.note, this.proof);
  }

  append(token) {
    this.root.dataset.state = "streaming";
    this.tokens.append(token);
  }

  finish(end) {
    this.root.dataset.state = end.reason === "error" ? "failed" : "finished";
    this.tokens.close();
    const reason = REASONS[end.reason] ?? end.reason;
    const note = [reason, end.detail].filter(Boolean).join(": ");
    if (note) this.say(note, end.reason === "error");
    this.prove(end);
  }

  /** The digest of the answer's steps, whether it can be had again and, of a run again, whether it was. */
  prove({ digest, reproducible, again }) {
    const hasDigest = digest && this.tokens.spans.length > 0;
    this.proof.hidden = !hasDigest && !again;
    if (hasDigest) {
      const text = `digest ${digest.slice(0, DIGITS_SHOWN)}…`, [word, title] = PROOF[reproducible];
      const button = h("button", { type: "button", class: "gac-fork", text, title: `Copy the digest of every token and probability: ${digest}`, onclick: () => copyBy(button, digest, text) });
      this.proof.append(h("span", {}, button, " · ", h("span", { text: word, title })));
    }
    if (again) this.proof.append(h("span", { class: "gac-again", text: again }));
  }

  say(text, isError = false) {
    this.note.textContent = text;
    this.note.hidden = false;
    this.note.classList.toggle("is-error", isError);
    if (isError) this.note.setAttribute("role", "alert");
  }

  refresh() {
    this.speed.textContent = this.stream.speed ? `${this.stream.speed.toFixed(1)} tokens/s` : "";
  }

  expand(isOn = !this.root.classList.contains("is-expanded")) {
    this.root.classList.toggle("is-expanded", isOn);
    this.expandButton.textContent = isOn ? "Shrink" : "Expand";
    this.expandButton.setAttribute("aria-expanded", String(isOn));
  }
}

class MemberCard extends Card {
  constructor(stream, name, actions) {
    super(stream, memberName(name, stream.member), name, actions);
    this.fork = h("button", { type: "button", class: "gac-fork", hidden: true, onclick: () => actions.onInspect(this.forkAt) });
    this.head.after(h("div", { class: "gac-subline" }, this.speed, this.fork));
    this.forkAt = null;
  }

  markFork(position) {
    this.forkAt = position;
    this.tokens.mark(position, "fork");
    this.fork.textContent = position === 0 ? "differs from the start" : `differs from token ${position + 1} on`;
    this.fork.title = "Show where this answer leaves the ensemble's";
    this.fork.hidden = false;
  }
}

class EnsembleCard extends Card {
  constructor(stream, run, actions) {
    super(stream, h("span", { text: "Ensemble" }), "Ensemble", actions);
    this.root.classList.add("gac-ensemble");
    this.run = run;
    this.views = h("div", { class: "gac-views", role: "radiogroup", "aria-label": "View" }, ...VIEWS.map(([id, name, title]) =>
      h("label", { title }, h("input", { type: "radio", name: "gac-view", value: id, onchange: () => actions.onView(id) }), h("span", { text: name }))));
    this.next = h("button", { type: "button", class: "gac-icon", onclick: actions.onNext, title: "Next gated token (n)", disabled: true, hidden: run.mode === "every-step" },
      h("span", { text: "Next gated" }), h("kbd", { text: "n" }));
    this.legend = h("p", { class: "gac-legend" },
      h("span", { class: "gac-legend-gate" }, h("i", { class: "gac-sample", text: "asked" }), " members combined"),
      h("span", { class: "gac-legend-doubt" }, h("i", { text: "sure" }), h("i", { text: "unsure" })),
      ...run.members.map(memberName),
      h("span", { class: "gac-legend-open" }, h("i", { class: "gac-sample-open", text: "open" }), " beginning of a longer token of a member"),
      h("span", { class: "gac-legend-parts" }, h("i", { class: "gac-sample-part", text: "▫" }), " shown with the token that follows"));
    this.plot = new ConfidencePlot(run.threshold, run.mode, actions.onInspect);
    this.figures = h("dl", { class: "gac-figures" });
    this.head.after(h("div", { class: "gac-tools" }, this.views, this.next));
    this.proof.before(this.plot.root, this.figures);
    this.tokens.root.after(this.legend);
  }

  append(token) {
    super.append(token);
    this.plot.add(token);
    if (token.isGated) this.next.disabled = false;
  }

  refresh(others = []) {
    super.refresh();
    const { stream } = this;
    const total = stream.tokens.length;
    if (!total) return;
    const figures = [["ensembled", `${stream.numGated} of ${total}`, `(${percent(stream.numGated / total)})`]];
    const end = stream.end;
    if (end) {
      figures.unshift(["first token", seconds(end.ttft_s), ""]);
      const passes = Object.entries(end.forwards).map(([name, count]) => `${count} ${name}`);
      figures.push(["forward passes", passes.join(" + "), ""]);
      figures.push(...this.costs(others));
    }
    this.figures.replaceChildren(...figures.map(([name, value, more]) =>
      h("div", {}, h("dt", { text: name }), h("dd", {}, h("b", { text: value }), more ? ` ${more}` : ""))));
  }

  /** Time per token against the fastest and the slowest member alone. */
  costs(others) {
    const speeds = others.map((stream) => stream.end?.tokens_per_s ?? 0).filter((speed) => speed > 0);
    const own = this.stream.end.tokens_per_s;
    if (!own || speeds.length < others.length || !speeds.length) return [];
    const ratio = (speed) => `${(speed / own).toFixed(2)}×`;
    const [fastest, slowest] = [Math.max(...speeds), Math.min(...speeds)].map(ratio);
    const title = "time per token, against a member alone";
    return [[title, fastest, speeds.length > 1 ? `the fastest, ${slowest} the slowest` : ""]];
  }
}
