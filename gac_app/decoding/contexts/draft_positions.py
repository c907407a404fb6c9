"""The draft after an answer, as one member reads it: place `i` is after the answer and `i` draft tokens."""

from __future__ import annotations

from collections.abc import Iterable

from gac_app.decoding.alignment import Covers
from gac_app.decoding.contexts.fed_text import FedText
from gac_app.decoding.contexts.sequence_reads import IdsN, SequenceReads
from gac_app.vocab.tokens import whole_characters


class DraftPositions:
    """Draft tokens, possibly none, and the member's covers at each of their places.

    While the answer follows the draft, the member needs no further pass. A member reads a draft as it is expected to
    cut it: where its distributions are known, as its covers cut each draft token; after that, as its tokeniser cuts the
    rest.

    Args:
        text: what comes before the draft.
        is_aligned: the member reads the draft's bytes, not each draft token by ids of its own.
    """

    def __init__(self, text: FedText, reads: SequenceReads, *, is_aligned: bool) -> None:
        self._mapping, self._text, self._reads = reads.member.mapping, text, reads
        self._is_aligned = is_aligned
        self._tokens: list[int] = []  # union ids
        self._covers: list[Covers] = []  # from place 0, as far as distributions are known; the last may be unread

    def __len__(self) -> int:
        return len(self._tokens)

    def append(self, token_id: int) -> None:
        """Add a draft token."""
        self._tokens.append(token_id)

    def advance(self, token_id: int) -> None:
        """A token was chosen: it is the first draft token, or the draft is dropped."""
        if self._tokens[:1] == [token_id]:
            del self._tokens[0]
        else:
            self._tokens.clear()
        self.invalidate()

    def clear(self) -> None:
        """Drop the draft."""
        self._tokens.clear()
        self.invalidate()

    def invalidate(self) -> None:
        """Forget the covers, since the text has changed; they are computed on the next access."""
        self._covers.clear()

    def has_room_for(self, token_id: int) -> bool:
        """Whether the context can hold one more draft token, wherever the member's tokens end."""
        tokens = [*self._tokens, token_id]
        if self._is_aligned:
            num_bytes = len(self._text.incomplete_utf8) + len(self._text.pending_bytes) + len(self._bytes_of(tokens))
            return self._text.covers.surely_fits(num_bytes, self._reads.max_ids)
        return self._text.covers.last.num_ids + len(self._fed_as(tokens)) <= self._reads.max_ids

    def known(self) -> list[Covers]:
        """The covers at each place, as if the draft had been chosen, up to the first place that is not read."""
        if self._text.is_covered and not self._tokens:
            self._reads.fill_in(self._text.covers)
            return [self._text.covers]
        if not self._covers:
            if self._text.is_covered:
                self._reads.fill_in(self._text.covers)
            present, rest = self._text.caught_up()
            if self._reads.fill_in(present) and rest:
                present.advance(rest, is_partial=True)
            self._covers = [present]
        while self._reads.fill_in(self._covers[-1]) and len(self._covers) <= len(self._tokens):
            following = self._covers[-1].fork()
            token = self._mapping.union.token(self._tokens[len(self._covers) - 1])
            following.advance(token, is_partial=False)
            self._covers.append(following)
        return self._covers

    def is_read(self, num_wanted: int) -> bool:
        """Whether the distributions of the first `num_wanted` places are known."""
        places = self.known()
        return len(places) - bool(places[-1].unread) >= min(num_wanted, len(self) + 1)

    def needed(self) -> tuple[IdsN, int]:
        """What a pass should read: the ids after the prompt, and how many distributions at their end are unknown."""
        places = self.known()
        unread = places[-1].unread
        boundary = unread[-1] if unread else places[-1].likeliest
        ids: IdsN = ()
        if not self._is_aligned:
            ids = self._fed_as(self._tokens[len(places) - 1 :])
        elif self._tokens:
            text = (self._text.written + self._bytes_of(self._tokens))[boundary.end :]
            ids = self._mapping.spell(whole_characters(text))[: self._reads.max_ids - boundary.num_ids]
        return boundary.path + ids, len(unread) + len(ids)

    def _bytes_of(self, tokens: Iterable[int]) -> bytes:
        return b"".join(map(self._mapping.union.token, tokens))

    def _fed_as(self, tokens: Iterable[int]) -> IdsN:
        """The member's ids of union tokens, each by itself."""
        return tuple(own for token_id in tokens for own in self._mapping.feed(token_id))
