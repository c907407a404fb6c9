"""A context that drafts and reads every union token by ids of its own: alignment "paper"."""

from __future__ import annotations

from concurrent.futures import Future

from gac_app.decoding.distribution import ComputedStep, MemberStep, ReadResult
from gac_app.decoding.member import Member
from gac_app.decoding.speculation.drafting_context import DraftingContext
from gac_app.models.base import Sequence


class DraftContext(DraftingContext):
    """A context whose member shares every boundary of the answer."""

    def __init__(self, member: Member, prompt_ids: list[int], sequence: Sequence | None = None) -> None:
        super().__init__(member, prompt_ids, sequence)
        self._known: list[MemberStep] = []  # at the first places
        self._drafted: list[int] = []  # union ids
        self._ends = [len(self._sequence.ids)]  # the member's ids before each place

    @property
    def is_full(self) -> bool:
        return self._ends[0] > self.member.context_length

    @property
    def written(self) -> bytes:
        return self.member.mapping.vocabulary.decode(self._sequence.ids[self.num_prompt_ids : self._ends[0]])

    def known_at(self, place: int) -> MemberStep | None:
        return self._known[place] if place < len(self._known) else None

    @property
    def is_known(self) -> bool:
        return bool(self._known)

    @property
    def is_read(self) -> bool:
        return len(self._known) >= min(self.num_wanted, len(self._ends))

    @property
    def num_uncomputed(self) -> int:
        return self._sequence.num_uncomputed

    def has_room_for(self, token_id: int) -> bool:
        return self._ends[-1] + len(self.member.mapping.feed(token_id)) <= self.member.context_length

    def draft(self, token_id: int) -> None:
        ids = self.member.mapping.feed(token_id)
        self._sequence.extend(list(ids))
        self._drafted.append(token_id)
        self._ends.append(self._ends[-1] + len(ids))

    def forget(self) -> None:
        self._drafted.clear()
        del self._known[1:], self._ends[1:]
        last = self._ends[0] if self._known else self._ends[0] - 1
        self._sequence.rewrite(last, self._sequence.ids[last : self._ends[0]])

    def ask(self) -> Future[ReadResult] | None:
        if self.is_read:
            return None
        num_logits = self._ends[-1] - self._ends[len(self._known)] + 1
        return self.member.read(self._sequence, num_logits)

    def expect(self, result: ReadResult | None) -> MemberStep:
        if result is not None:
            self._count(result)
            self._learn(result)
        return self._known[0]

    def feed(self, token_id: int, *, is_partial: bool = False) -> tuple[bytes, ...]:
        ids = self.member.mapping.feed(token_id)
        if self._drafted[:1] == [token_id]:
            del self._drafted[0], self._ends[0], self._known[:1]
        else:
            self._sequence.rewrite(self._ends[0], list(ids))
            self._ends = [len(self._sequence.ids)]
            self._drafted.clear()
            self._known.clear()
        return self._pieces(ids)

    def _learn(self, result: ReadResult) -> None:
        """Keep what a pass over all uncomputed ids says at each new boundary; its time is split among them."""
        ends = self._ends[len(self._known) :]
        num_left = result.num_read
        for end in ends:
            num_read = max(0, num_left - (ends[-1] - end))  # the first place also counts the ids caught up on
            num_left -= num_read
            index = end - ends[0]
            self._known.append(
                ComputedStep(result.distributions[index], num_read=num_read, seconds=result.seconds / len(ends))
            )
