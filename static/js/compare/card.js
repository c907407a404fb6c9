// One answer's card: its tokens in a box that scrolls by itself, above it who and how fast, below it what there is to say.

import { BESIDE, Repetition } from "../answer/stream.js";
import { TokenText } from "../answer/tokens.js";
import { copyBy } from "../page/browser.js";
import { following, h, memberName, menu } from "../page/elements.js";
import { number, percent, seconds } from "../page/numbers.js";
import { said, t, term } from "../page/words.js";
import { noticeOf } from "../settings/facts.js";

const isCut = ({ reason, detail }) => reason === "length" && !detail;
const ENDED = { length: "run.aborted", abort: "run.aborted", error: "run.failed" };

export class Card {
  /** `actions`: {onVisit, onInspect, onHint} of the tokens. */
  constructor(stream, label, painter, actions) {
    Object.assign(this, { stream, label, actions, repetition: new Repetition() });
    this.tokens = new TokenText(label, painter, stream.member < 0, actions);
    this.body = h("div", { class: "gac-body" }, this.tokens.frame);
    this.speed = h("span", { class: "gac-speed" });
    this.note = h("p", { class: "gac-card-note", hidden: true });
    const copyButton = h("button", { type: "button", class: "gac-icon", text: t("copy"), onclick: () => copyBy(copyButton, stream.text, t("copy")) });
    this.menu = menu({ text: "⋯", "aria-label": t("more.of", { name: label }) }, copyButton);
    this.subline = h("div", { class: "gac-subline" }, this.speed);
    this.foot = h("div", { class: "gac-foot" }, this.note);
    this.root = h("article", { class: "gac-card", id: `gac-card-${stream.index}`, "data-state": "waiting", "aria-label": label },
      h("header", {}, h("h3", {}, this.name()), h("span", { class: "gac-spacer" }), this.menu),
      this.subline, h("div", { class: "gac-rest" }, this.body, this.foot));
    this.followEnd = following(this.body);
    this.swapAt = Infinity; // where a branch swapped a token
    this.isLive = false; // whether it is being written, and not opened again
  }

  append(token) {
    if (!this.stream.end) this.root.dataset.state = "streaming";
    this.tokens.append(token);
    const from = this.repetition.add(token.text);
    if (from !== null && !this.loop) this.showLoop(from);
  }

  /** It repeats itself, which ends nothing. */
  showLoop(from) {
    this.loop = h("button", { type: "button", class: "gac-fork", text: t("card.repeats", { token: from + 1 }), onclick: () => this.actions.onInspect(from) });
    this.foot.prepend(this.loop);
    this.tokens.drawAt("loop", from);
  }

  /** How the answer came to its end: it "repeats" itself up to there, was "cut" at its limit, or came to its "end"; else "". */
  get ending() {
    const { end } = this.stream;
    return this.repetition.goesOn ? "repeats" : end?.reason === "stop" ? "end" : end && isCut(end) ? "cut" : "";
  }

  /** Write what came; once a frame. */
  flush() {
    this.tokens.flush();
    if (this.swapAt < this.tokens.count) {
      this.tokens.drawAt("swap", this.swapAt);
      this.swapAt = Infinity; // once
    }
    if (this.isLive && this.root.dataset.state === "streaming") this.followEnd();
  }

  finish(end) {
    this.flush();
    this.root.dataset.state = end.reason === "error" ? "failed" : "finished";
    if (this.stream.whole === null) this.tokens.close();
    const note = isCut(end) ? t("arena.cut") : [end.reason === "stop" ? "" : t(ENDED[end.reason]), said(end.detail)].filter(Boolean).join(": ");
    if (note) this.say(note, end.reason === "error");
    if (end.reason === "abort" || isCut(end)) this.onMore?.();
    if (end.again) this.again.textContent = said(end.again);
    if (this.isLive) this.followEnd(this.stream.member < 0 ? undefined : 0); // the ensemble's is being read; what was said has taken of its room
  }

  /** Keep room for how the answer compares with that of the run before. */
  awaitComparison() {
    this.again = h("p", { class: "gac-again" });
    this.note.after(this.again);
  }

  say(text, isError = false) {
    this.note.textContent = text;
    this.note.hidden = false;
    this.root.classList.add("has-note");
    this.note.classList.toggle("is-error", isError);
    if (isError) this.note.setAttribute("role", "alert");
  }

  refresh() {
    const { speed, end, tokens } = this.stream;
    this.speed.textContent = speed ? t("card.speed", { speed: number(speed, 1) }) : end ? "" : tokens.length ? t("status.writing") : this.readShare ? t("status.reading", { share: percent(this.readShare) }) : t("run.waiting");
    if (speed && end) this.speed.append(h("span", { text: ` · ${seconds(end.seconds)}` }));
  }
}

/** Let a card of an answer beside the ensemble's say where it leaves that, in these `words`. */
export function addFork(card, actions, words) {
  let at = null;
  const button = h("button", { type: "button", class: "gac-fork", hidden: true, text: words, onclick: () => actions.onInspect(at) });
  card.subline.append(button);
  card.markFork = (position) => {
    at = position;
    card.tokens.drawAt("fork", position);
    button.hidden = false;
  };
}

export class MemberCard extends Card {
  constructor(stream, run, painter, actions) {
    stream.name = run.members[stream.member];
    super(stream, stream.name, painter, actions);
    if (stream.name === run.gate && run.mode !== "every-step" && run.streams.includes("ensemble")) {
      this.subline.prepend(h("span", { class: "gac-small gac-of-gate" }, term("gate", t("member.gate"))));
    }
    addFork(this, actions, t("card.differs"));
    const notice = noticeOf(stream.name);
    if (notice) this.foot.append(h("p", { class: "gac-small gac-member-notice", text: notice }));
  }

  name() {
    return memberName(this.stream.name, this.stream.member);
  }
}

/** The versions of a run's turn, of which a card shows one. */
export function addVersions(card, { id, versions }, ask) {
  if (versions.length < 2) return;
  const at = versions.indexOf(id), step = (sign, by) => h("button", { type: "button", class: "gac-icon", text: sign, disabled: !versions[at + by], "aria-label": t(`version.${by < 0 ? "older" : "newer"}`), onclick: () => ask("open", { run: versions[at + by] }) });
  card.root.querySelector(".gac-spacer").after(h("span", { class: "gac-versions", role: "group", "aria-label": t("versions") }, step("‹", -1), `${at + 1}/${versions.length}`, step("›", 1)));
}

/** What can be done about one answer: have it anew, or let it go on where it ended at its limit. */
export function offerMore(card, run, ask) {
  if (card.stream.key === BESIDE) return;
  const { key } = card.stream;
  card.menu.lastChild.append(h("button", { type: "button", class: "gac-icon", text: t("card.anew"), onclick: () => ask("regenerate", { stream: key }) }));
  const more = (words, stream) => card.note.append(" ", h("button", { type: "button", class: "gac-button", text: t(words), onclick: () => ask("extend", { stream }) }));
  card.onMore = () => {
    card.canContinue = true;
    more("card.continue", key);
  };
  card.offerAll = () => more("card.continue-all", "");
}
