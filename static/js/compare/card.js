// One answer's card: its tokens in a box that scrolls by itself, above it who and how fast, below it what there is to say.

import { Rendered } from "../answer/rendered.js";
import { BESIDE } from "../answer/stream.js";
import { TokenText } from "../answer/tokens.js";
import { copyBy } from "../page/browser.js";
import { following, h, memberName } from "../page/elements.js";
import { number, percent } from "../page/numbers.js";
import { said, t } from "../page/words.js";
import { noticeOf } from "../settings/facts.js";

const DIGITS_SHOWN = 8; // of a digest

export class Card {
  /** `actions`: {onVisit, onInspect, onHint} of the tokens, onExpand() and onDetails(). */
  constructor(stream, label, painter, actions) {
    Object.assign(this, { stream, label });
    this.tokens = new TokenText(label, painter, stream.member < 0, actions);
    this.rendered = new Rendered(label);
    this.body = h("div", { class: "gac-body" }, this.tokens.frame, this.rendered.root);
    this.speed = h("span", { class: "gac-speed" });
    this.note = h("p", { class: "gac-card-note", hidden: true });
    this.proof = h("p", { class: "gac-proof" });
    this.copyButton = h("button", { type: "button", class: "gac-icon", title: t("card.copy.title"), text: t("copy"), "aria-label": t("card.copy.of", { name: label }), onclick: () => copyBy(this.copyButton, stream.text, t("copy")) });
    this.expandButton = h("button", { type: "button", class: "gac-icon", text: t("card.expand"), "aria-label": t("card.expand.of", { name: label }), "aria-expanded": "false", onclick: actions.onExpand });
    this.subline = h("div", { class: "gac-subline" }, this.speed);
    this.details = h("div", { class: "gac-details", id: `gac-details-${stream.index}` }, this.proof);
    this.detailsButton = h("button", { type: "button", class: "gac-icon gac-open", "aria-controls": this.details.id, "aria-label": t("card.details.of", { name: label }), onclick: actions.onDetails }, h("span", { text: t("card.details") }));
    this.bar = h("div", { class: "gac-bar-of-card" }, this.detailsButton, h("span", { class: "gac-spacer" }), this.copyButton);
    this.foot = h("div", { class: "gac-foot" }, this.note, this.details, this.bar);
    this.root = h("article", { class: "gac-card", id: `gac-card-${stream.index}`, "data-state": "waiting", "aria-label": label },
      h("header", {}, h("h3", {}, this.name()), h("span", { class: "gac-spacer" }), this.expandButton),
      this.subline, this.body, this.foot);
    this.followEnd = following(this.body);
    this.swapAt = Infinity; // where a branch swapped a token
    this.isLive = false; // whether it is being written, and not opened again
  }

  append(token) {
    if (!this.stream.end) this.root.dataset.state = "streaming";
    this.tokens.append(token);
  }

  /** Write what came; once a frame. */
  flush() {
    this.tokens.flush();
    if (this.swapAt < this.tokens.count) {
      this.tokens.markSwap(this.swapAt);
      this.swapAt = Infinity; // once
    }
    this.render();
    if (this.isLive && this.root.dataset.state === "streaming") this.followEnd();
  }

  /** Keep the Rendered view with the text, where it is what is looked at. */
  render() {
    if (this.rendered.root.offsetParent) this.rendered.show(this.stream.text, Boolean(this.stream.end));
  }

  finish(end) {
    this.flush();
    this.root.dataset.state = end.reason === "error" ? "failed" : "finished";
    if (this.stream.whole === null) this.tokens.close();
    const note = [end.reason === "stop" ? "" : t(`card.ended.${end.reason}`), said(end.detail)].filter(Boolean).join(": ");
    if (note) this.say(note, end.reason === "error");
    if (end.reason === "length" && end.detail.startsWith("the limit")) this.onLimit?.();
    this.prove(end);
  }

  /** The digest of the answer's steps, whether it can be had again and, of a run again, whether it was. */
  prove({ digest, reproducible, again }) {
    if (digest && this.tokens.count > 0) {
      const text = t("card.digest", { digits: digest.slice(0, DIGITS_SHOWN) }), proof = reproducible ? "card.reproducible" : "card.not-reproducible";
      const button = h("button", { type: "button", class: "gac-fork", text, title: t("card.digest.title", { digest }), onclick: () => copyBy(button, digest, text) });
      this.proof.append(h("span", {}, button, " · ", h("span", { text: t(proof), title: t(`${proof}.title`) })));
    }
    if (again) this.again.textContent = said(again);
  }

  /** Keep room for how the answer compares with that of the run before. */
  awaitComparison() {
    this.again = h("p", { class: "gac-again" });
    this.details.before(this.again);
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
    this.speed.textContent = speed ? t("card.speed", { speed: number(speed, 1) }) : end ? "" : tokens.length ? t("card.writing") : this.readShare ? t("card.reading", { share: percent(this.readShare) }) : t("card.waiting");
  }

  /** The figures, the chart and the digest, which not everybody wants to see. */
  showDetails(isOn) {
    this.details.hidden = !isOn;
    this.detailsButton.setAttribute("aria-expanded", String(isOn));
  }

  expand(isOn) {
    this.root.classList.toggle("is-expanded", isOn);
    this.expandButton.textContent = t(isOn ? "card.shrink" : "card.expand");
    this.expandButton.setAttribute("aria-expanded", String(isOn));
  }
}

/** Let a card of an answer beside the ensemble's say where it leaves that. */
export function addFork(card, actions) {
  let at = null;
  const button = h("button", { type: "button", class: "gac-fork", hidden: true, onclick: () => actions.onInspect(at) });
  card.subline.append(button);
  card.markFork = (position) => {
    at = position;
    card.tokens.markFork(position);
    button.textContent = position === 0 ? t("card.differs.start") : t("card.differs", { token: position + 1 });
    button.title = t("card.differs.title");
    button.hidden = false;
  };
}

export class MemberCard extends Card {
  constructor(stream, run, painter, actions) {
    stream.name = run.members[stream.member];
    super(stream, stream.name, painter, actions);
    addFork(this, actions);
    const notice = noticeOf(stream.name);
    if (notice) this.bar.before(h("p", { class: "gac-small gac-member-notice", text: notice }));
  }

  name() {
    return memberName(this.stream.name, this.stream.member);
  }
}

/** What can be done about one answer: have it anew, or let it go on where it ended at its limit. */
export function offerMore(card, run, ask) {
  if (card.stream.key === BESIDE) return;
  const { key } = card.stream, { label } = card;
  const again = h("button", { type: "button", class: "gac-icon gac-anew", text: "↻", title: t("card.anew.title"), "aria-label": t("card.anew", { name: label }),
    onclick: () => ask("regenerate", { stream: key }) });
  card.copyButton.before(again);
  card.onLimit = () => card.note.append(" ", h("button", { type: "button", class: "gac-button", text: t("card.continue"), title: t("card.continue.title"), onclick: () => ask("extend", {}) }));
}
