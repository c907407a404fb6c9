// The tokens of long answers that were over when they were opened: their text is there at once, their tokens come a piece
// at a time.

import { answerTo } from "../page/browser.js";
import { said } from "../page/words.js";

export class Rest {
  constructor(board) {
    Object.assign(this, { board, streams: [], loaded: null });
  }

  /** `text`: what an answer says after the tokens that came. */
  add(index, text) {
    const stream = this.board.streams[index];
    stream.whole = stream.text + text;
    this.board.cards[index].tokens.writeAhead(text);
    this.streams.push(stream);
  }

  /** Load all tokens, once; a promise. */
  load() {
    return (this.loaded ??= this.loadAll());
  }

  async loadAll() {
    const { board } = this;
    for (const stream of this.streams) {
      if (!(await this.loadStream(stream))) return;
      board.cards[stream.index].tokens.close();
    }
    const { forks = [] } = await answerTo(board.server.find_forks(board.request({})));
    if (board.rest !== this) return;
    for (const fork of forks) board.take({ fork });
    board.refresh(true);
  }

  /** False if the board shows another run meanwhile, or the tokens cannot be read. */
  async loadStream(stream) {
    const { board } = this, card = board.cards[stream.index];
    while (stream.tokens.length < stream.end.tokens) {
      const reply = await answerTo(board.server.read_tokens(board.request({ stream: stream.key, first: stream.tokens.length })));
      if (board.rest !== this) return false;
      if (reply.error) card.say(said(reply.error), true);
      if (!reply.tokens?.length) return false;
      for (const token of reply.tokens) board.take([stream.index, ...token]);
      card.flush();
    }
    return true;
  }
}
