// One answer's card: its tokens in a box that scrolls by itself, above it who and how fast, below it what there is to say.

const REASONS = { stop: "", length: "Stopped", abort: "Stopped", error: "Failed" };
const FOLLOW_PX = 48; // a box scrolled this near its end follows what is written
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
  /** `actions`: {onVisit, onInspect, onHint} of the tokens and onExpand(). */
  constructor(stream, label, painter, actions) {
    this.stream = stream;
    this.tokens = new TokenText(label, painter, stream.member < 0, actions);
    this.rendered = new Rendered(label);
    this.body = h("div", { class: "gac-body" }, this.tokens.frame, this.rendered.root);
    this.speed = h("span", { class: "gac-speed" });
    this.note = h("p", { class: "gac-card-note", hidden: true });
    this.proof = h("p", { class: "gac-proof" });
    this.copyButton = h("button", { type: "button", class: "gac-icon", title: "Copy this answer", text: "Copy", "aria-label": `Copy the answer of ${label}`, onclick: () => copyBy(this.copyButton, stream.text, "Copy") });
    this.expandButton = h("button", { type: "button", class: "gac-icon", text: "Expand", "aria-label": `Expand the answer of ${label}`, "aria-expanded": "false", onclick: actions.onExpand });
    this.subline = h("div", { class: "gac-subline" }, this.speed);
    this.foot = h("div", { class: "gac-foot" }, this.note, this.proof);
    this.root = h("article", { class: "gac-card", id: `gac-card-${stream.index}`, "data-state": "waiting", "aria-label": label },
      h("header", {}, h("h3", {}, this.name()), h("span", { class: "gac-spacer" }), this.copyButton, this.expandButton),
      this.subline, this.body, this.foot);
    this.isFollowing = true;
    this.body.addEventListener("scroll", () => {
      this.isFollowing = this.body.scrollHeight - this.body.scrollTop - this.body.clientHeight < FOLLOW_PX;
    }, { passive: true });
  }

  append(token) {
    this.root.dataset.state = "streaming";
    this.tokens.append(token);
  }

  /** Write what came; once a frame. */
  flush() {
    this.tokens.flush();
    this.render();
    if (this.isFollowing && this.root.dataset.state === "streaming") this.body.scrollTop = this.body.scrollHeight;
  }

  /** Keep the Rendered view with the text, where it is what is looked at. */
  render() {
    if (this.rendered.root.offsetParent) this.rendered.show(this.stream.text, Boolean(this.stream.end));
  }

  finish(end) {
    this.flush();
    this.root.dataset.state = end.reason === "error" ? "failed" : "finished";
    this.tokens.close();
    const note = [REASONS[end.reason] ?? end.reason, end.detail].filter(Boolean).join(": ");
    if (note) this.say(note, end.reason === "error");
    if (end.reason === "length" && end.detail.startsWith("the limit")) this.onLimit?.();
    this.prove(end);
  }

  /** The digest of the answer's steps, whether it can be had again and, of a run again, whether it was. */
  prove({ digest, reproducible, again }) {
    if (digest && this.tokens.count > 0) {
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
    const { speed, end, tokens } = this.stream;
    this.speed.textContent = speed ? `${speed.toFixed(1)} tokens/s` : end ? "" : tokens.length ? "writing" : this.readShare ? `reading ${percent(this.readShare)}` : "waiting";
  }

  expand(isOn) {
    this.root.classList.toggle("is-expanded", isOn);
    this.expandButton.textContent = isOn ? "Shrink" : "Expand";
    this.expandButton.setAttribute("aria-expanded", String(isOn));
  }
}

/** An answer beside the ensemble's, which it leaves somewhere. */
class OtherCard extends Card {
  constructor(stream, label, painter, actions) {
    super(stream, label, painter, actions);
    this.fork = h("button", { type: "button", class: "gac-fork", hidden: true, onclick: () => actions.onInspect(this.forkAt) });
    this.subline.append(this.fork);
    this.forkAt = null;
  }

  markFork(position) {
    this.forkAt = position;
    this.tokens.markFork(position);
    this.fork.textContent = position === 0 ? "differs from the start" : `differs from token ${position + 1} on`;
    this.fork.title = "Show where this answer leaves the ensemble's";
    this.fork.hidden = false;
  }
}

class MemberCard extends OtherCard {
  constructor(stream, run, painter, actions) {
    stream.name = run.members[stream.member];
    super(stream, stream.name, painter, actions);
  }

  name() {
    return memberName(this.stream.name, this.stream.member);
  }
}

/** The ensemble's answer of the run with other settings. */
class BesideCard extends OtherCard {
  constructor(stream, run, painter, actions) {
    stream.name = "Ensemble before";
    super(stream, stream.name, painter, actions);
    this.root.classList.add("gac-beside");
    this.foot.prepend(h("p", { class: "gac-small" }, "Here: ", h("bdi", { text: run.beside.there || "the same" })));
  }

  name() {
    return h("span", { text: "Ensemble before" });
  }
}

/** What can be done about one answer: have it anew, or let it go on where it ended at its limit. */
function offerMore(card, run, ask) {
  if (card.stream.key === BESIDE) return;
  const { key } = card.stream, label = key === "ensemble" ? "the ensemble" : run.members[card.stream.member];
  const again = h("button", { type: "button", class: "gac-icon gac-anew", text: "↻", title: "Answer anew, this one alone. Where tokens are sampled, with the next seed", "aria-label": `Answer anew: ${label}`,
    onclick: () => ask("regenerate", { stream: key }) });
  card.copyButton.before(again);
  card.onLimit = () => card.note.append(" ", h("button", { type: "button", class: "gac-button", text: "Continue", title: "Go on with every answer that ended at its limit", onclick: () => ask("extend", {}) }));
}
