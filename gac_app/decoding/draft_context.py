"""A member's context that reads on behind the end of the answer, along a draft of what may follow.

What it expects behind drafted tokens is kept. Where the answer then goes as drafted, the member needs no pass of its
own for it; where it does not, the draft is forgotten and the cache follows before the next read.
"""

from __future__ import annotations

from concurrent.futures import Future

from gac_app.decoding.context import Expectation, MemberContext
from gac_app.decoding.covers import Row
from gac_app.decoding.member import Member, Reading
from gac_app.models.base import Sequence


class DraftContext(MemberContext):
    """A context with a draft behind it. Boundary `i` is the place behind the answer and `i` drafted tokens.

    Attributes:
        known: what the member expects at the first boundaries, those that are read.
        num_wanted: how many of them, of those there are, `ask` wants to be known.
    """

    def __init__(self, member: Member, prompt_ids: list[int], sequence: Sequence | None = None) -> None:
        super().__init__(member, prompt_ids, sequence)
        self.known: list[Expectation] = []
        self.num_wanted = 1
        self._drafted: list[int] = []  # union ids
        self._ends = [len(self._sequence.ids)]  # the member's ids before each boundary

    @property
    def is_full(self) -> bool:
        return self._ends[0] > self.member.context_length

    @property
    def written(self) -> bytes:
        return self.member.mapping.vocabulary.decode(self._sequence.ids[self.num_prompt_ids : self._ends[0]])

    @property
    def is_known(self) -> bool:
        """Whether the next step needs no pass of this member."""
        return bool(self.known)

    @property
    def is_read(self) -> bool:
        """Whether `ask` has nothing to read."""
        return len(self.known) >= min(self.num_wanted, len(self._ends))

    @property
    def num_pending(self) -> int:
        """Ids to read, drafted ones included."""
        return self._sequence.num_pending

    def has_room_for(self, token_id: int) -> bool:
        """Whether the context can hold one more drafted token."""
        return self._ends[-1] + len(self.member.mapping.feed(token_id)) <= self.member.context_length

    def draft(self, token_id: int) -> None:
        """Append a union token to the draft."""
        ids = self.member.mapping.feed(token_id)
        self._sequence.extend(list(ids))
        self._drafted.append(token_id)
        self._ends.append(self._ends[-1] + len(ids))

    def forget(self) -> None:
        """Drop the draft, and what a failed pass may have left of it."""
        self._drafted.clear()
        del self.known[1:], self._ends[1:]
        last = self._ends[0] if self.known else self._ends[0] - 1
        self._sequence.rewrite(last, self._sequence.ids[last : self._ends[0]])

    def ask(self) -> Future[Reading] | None:
        if self.is_read:
            return None
        num_logits = self._ends[-1] - self._ends[len(self.known)] + 1
        return self.member.read(self._sequence, num_logits)

    def expect(self, reading: Reading | None) -> Expectation:
        if reading is not None:
            self._count(reading)
            self._learn(reading)
        return self.known[0]

    def feed(self, token_id: int, *, is_open: bool = False) -> tuple[bytes, ...]:
        ids = self.member.mapping.feed(token_id)
        if self._drafted[:1] == [token_id]:
            del self._drafted[0], self._ends[0], self.known[:1]
        else:
            self._sequence.rewrite(self._ends[0], list(ids))
            self._ends = [len(self._sequence.ids)]
            self._drafted.clear()
            self.known.clear()
        return self._pieces(ids)

    def _learn(self, reading: Reading) -> None:
        """Keep what a pass over all pending ids says at every boundary that was not known; they share its time."""
        ends = self._ends[len(self.known) :]
        num_left = reading.num_read
        for end in ends:
            num_read = max(0, num_left - (ends[-1] - end))  # the first one's are those it caught up on, too
            num_left -= num_read
            row = end - ends[0]
            self.known.append(
                Expectation(
                    Row(reading.probs_NU[row]),
                    reading.top_probs_NK[row],
                    reading.top_ids_NK[row],
                    num_read=num_read,
                    seconds=reading.seconds / len(ends),
                )
            )
