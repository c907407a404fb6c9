"""A context that drafts and reads the answer's bytes by its member's own tokens: alignment "prefix".

A draft is read ahead as the member is expected to cut it: where its distributions are known, as its covers cut each
drafted token; after that, as its tokeniser cuts the rest. Most of what a step then needs has been read already. If it
has not, the cache is rewound and the member reads as without a draft.
"""

from __future__ import annotations

from concurrent.futures import Future

from gac_app.decoding.alignment import Boundary, Covers, whole_characters
from gac_app.decoding.contexts.prefix_context import PrefixContext
from gac_app.decoding.distribution import MemberStep, ReadResult, TokenDistribution
from gac_app.decoding.member import Member
from gac_app.decoding.speculation.drafting_context import DraftingContext
from gac_app.models.base import Sequence


class PrefixDraftContext(PrefixContext, DraftingContext):
    """A context whose member may be inside one of its own tokens, and that reads ahead along a draft."""

    def __init__(self, member: Member, prompt_ids: list[int], sequence: Sequence | None = None) -> None:
        super().__init__(member, prompt_ids, sequence)
        self._drafted: list[bytes] = []
        self._places: list[Covers] = []  # the first ones, as far as distributions are known; the last may be unread

    def known_at(self, place: int) -> MemberStep | None:
        places = self._known_places()
        return None if place >= len(places) or places[place].unread else self._member_step(places[place])

    @property
    def is_known(self) -> bool:
        return not self._known_places()[0].unread

    @property
    def is_read(self) -> bool:
        places = self._known_places()
        return len(places) - bool(places[-1].unread) >= min(self.num_wanted, len(self._drafted) + 1)

    @property
    def num_uncomputed(self) -> int:
        boundary, ahead, num_wanted = self._ahead_of_need()
        return max(num_wanted, self.num_prompt_ids + boundary.num_ids + len(ahead) - self._sequence.num_computed)

    def has_room_for(self, token_id: int) -> bool:
        ahead = b"".join([*self._drafted, self.member.mapping.union.token(token_id)])
        return self._covers.fits(bytes(self._missed) + ahead, self._max_ids)

    def draft(self, token_id: int) -> None:
        self._drafted.append(self.member.mapping.union.token(token_id))

    def forget(self) -> None:
        self._drafted.clear()
        self._places.clear()
        self._hold(self._covers.last)

    def ask(self) -> Future[ReadResult] | None:
        if self._missed:
            self._leap()
            self._places.clear()
        self._learns(self._covers)  # before the cache leaves the answer's path
        if self.is_read:
            return None
        boundary, ahead, num_wanted = self._ahead_of_need()
        self._hold(boundary, ahead)
        return self._read_distributions(num_wanted) if num_wanted else None

    def expect(self, result: ReadResult | None) -> MemberStep | None:
        self._places.clear()
        return super().expect(result)

    def feed(self, token_id: int, *, is_partial: bool = False) -> tuple[bytes, ...]:
        pieces = super().feed(token_id, is_partial=is_partial)
        self._places.clear()
        if self._drafted[:1] == [self.member.mapping.union.token(token_id)]:
            del self._drafted[0]
        else:
            self._drafted.clear()
        return pieces

    def _known_places(self) -> list[Covers]:
        """The covers at each place, as if the draft had been chosen, up to the first place that is not read."""
        if not self._places:
            present = self._covers.fork()
            rest = present.leap(bytes(self._missed), self.likely) if self._missed else self._rest
            if self._learns(present) and rest:
                present.advance(rest, is_partial=True)
            self._places = [present]
        while self._learns(self._places[-1]) and len(self._places) <= len(self._drafted):
            following = self._places[-1].fork()
            following.advance(self._drafted[len(self._places) - 1], is_partial=False)
            self._places.append(following)
        return self._places

    def _learns(self, covers: Covers) -> bool:
        """Whether all that these covers need has been read; if so, they learn it."""
        unread = covers.unread
        distributions = [distribution for boundary in unread if (distribution := self._distribution_at(boundary))]
        if len(distributions) < len(unread):
            return False
        if distributions:
            covers.learn(distributions)
        return True

    def _distribution_at(self, boundary: Boundary) -> TokenDistribution | None:
        base, _, ids = self._path(boundary)
        return self._distributions.get(boundary.num_ids) if self._held(base)[: len(ids)] == ids else None

    def _ahead_of_need(self) -> tuple[Boundary, tuple[int, ...], int]:
        """What a pass should read: up to which boundary, which ids after it, and how many distributions to give."""
        covers = self._known_places()[-1]
        unread = covers.unread
        boundary = unread[-1] if unread else covers.likeliest
        text = (self.written + b"".join(self._drafted))[boundary.end :]
        ahead = self.member.mapping.spell(whole_characters(text))[: self._max_ids - boundary.num_ids]
        return boundary, ahead, len(unread) + len(ahead)

    def _first_wanted(self, end: int) -> int:
        return min(end - 1, (self._covers.unread or [self._covers.last])[0].num_ids)
