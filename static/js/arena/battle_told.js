// After the names are told: every answer by its tokens, with the inspector of Compare.

import { hintOf } from "../answer/hints.js";
import { Inspector } from "../answer/inspector.js";
import { Painter } from "../answer/painter.js";
import { Stream } from "../answer/stream.js";
import { SIDES } from "./battle_card.js";
import { theTip } from "../page/tip.js";

export class BattleTold {
  constructor(arena) {
    this.arena = arena;
    this.painter = new Painter();
    this.tip = theTip();
    this.inspector = new Inspector(arena.part("inspector"), (stream, position) =>
      arena.ask("inspect_answer", { battle: arena.run.id, turn: stream.turn, side: SIDES[stream.index], position }), {
        onBranch() {}, onMove: (step) => this.goTo(this.place.at + step), onChoose: (at) => this.goTo(at), onClose: () => this.close(), onShown: () => this.placeInspector(),
      });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && arena.root.offsetParent && this.inspector.isOpen) this.close();
    });
  }

  clear() {
    Object.assign(this, { place: null, hasTokens: false });
    this.painter.clear();
    this.tip.hide();
    this.inspector.clear(null);
  }

  /** The names are told: every answer by its tokens, where the server still has them. */
  async reveal(contestants) {
    const { arena } = this, { run } = arena;
    const replies = await Promise.all(SIDES.flatMap((side, index) => arena.cards[index].answers.map(async (_, turn) =>
      ({ index, turn, reply: await arena.ask("battle_tokens", { battle: run.id, turn, side, member: contestants[index].member ?? "" }) }))));
    if (arena.run !== run) return;
    if (replies.some(({ reply }) => reply.error)) { // of before the server's last start: it can only be read
      arena.part("arena-reasons").hidden = true;
      return;
    }
    const { members } = replies[0].reply;
    this.inspector.clear({ members, streams: members.map((name) => `member:${name}`), is_own: false });
    for (const { index, turn, reply } of replies) this.revealAnswer(arena.cards[index].answers[turn], index, turn, reply, contestants[index].member);
    arena.showViews();
    this.hasTokens = true;
    arena.refresh();
  }

  revealAnswer(answer, index, turn, reply, member) {
    const stream = new Stream(index, `${SIDES[index]} ${turn}`, member === null ? -1 : reply.members.indexOf(member));
    for (const token of reply.tokens) stream.add([index, ...token]);
    Object.assign(stream, { end: true, turn, run: reply });
    answer.reveal(stream, this.painter, {
      onVisit: (at) => { if (this.inspector.isOpen) this.inspect(answer, stream, at, true); },
      onInspect: (at) => this.inspect(answer, stream, at),
      onHint: (at, rect, isSpoken) => {
        if (at === null) return this.tip.hide();
        const text = hintOf(stream, at, stream.run, answer.tokens.partsOf(at).length);
        if (!isSpoken || !this.inspector.isOpen) this.tip.show(text, rect);
        if (isSpoken) this.arena.part("spoken").textContent = `${stream.tokens[at].text} ${text}`;
      },
    });
  }

  inspect(answer, stream, at, isLater = false) {
    this.place?.answer.tokens.select(null);
    this.place = { answer, stream, at };
    answer.tokens.select(at);
    this.tip.hide();
    this.inspector.show(stream, at, answer.tokens.partsOf(at), isLater);
  }

  /** Over the other card, so that the text stays to be seen; on narrow screens it is a sheet. */
  placeInspector() {
    const { arena } = this, { answer, stream } = this.place, all = arena.part("columns").getBoundingClientRect();
    const card = arena.cards[stream.index].root.getBoundingClientRect(), { offsetWidth: width } = arena.part("side");
    arena.root.style.setProperty("--side", `${stream.index === 0 ? Math.min(card.right + 4, all.right - width) - all.left : Math.max(0, card.left - all.left - width - 4)}px`);
    answer.tokens.reveal();
  }

  goTo(at) {
    const { answer, stream } = this.place;
    if (at >= 0 && at < stream.tokens.length) this.inspect(answer, stream, at);
  }

  close() {
    const { answer, at } = this.place;
    this.inspector.close();
    answer.tokens.select(null);
    answer.tokens.focus(at);
    this.place = null;
  }
}
