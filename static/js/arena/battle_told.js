// After the names are told: every answer by its tokens, with the inspector of Compare.

import { Chosen } from "../answer/chosen.js";
import { Stream } from "../answer/stream.js";
import { SIDES } from "./battle_card.js";

export class BattleTold {
  constructor(arena) {
    this.arena = arena;
    this.chosen = new Chosen(arena.root, (stream, position) =>
      arena.ask("inspect_answer", { battle: arena.run.id, turn: stream.turn, side: SIDES[stream.index], position }), { tokensOf: ({ answer }) => answer.tokens });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && arena.root.offsetParent) this.chosen.close();
    });
  }

  clear() {
    this.hasTokens = false;
    this.chosen.clear(null);
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
    this.chosen.inspector.clear({ members, streams: members.map((name) => `member:${name}`), is_own: false });
    for (const { index, turn, reply } of replies) this.revealAnswer(arena.cards[index].answers[turn], index, turn, reply, contestants[index].member);
    arena.showViews();
    this.hasTokens = true;
    arena.refresh();
  }

  revealAnswer(answer, index, turn, reply, member) {
    const stream = new Stream(index, `${SIDES[index]} ${turn}`, member === null ? -1 : reply.members.indexOf(member));
    for (const token of reply.tokens) stream.add([index, ...token]);
    Object.assign(stream, { end: true, turn, answer });
    answer.reveal(stream, this.chosen.painter, this.chosen.actions(stream, reply));
  }
}
