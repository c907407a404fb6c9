"""The context of a member that reads the answer's bytes as its own tokens, whatever pieces others cut them into."""

from __future__ import annotations

from concurrent.futures import Future

from gac_app.decoding.alignment import Boundary, Covers
from gac_app.decoding.contexts.context import MemberContext
from gac_app.decoding.distribution import ComputedStep, Draft, MayDraft, MemberStep, ReadResult, TokenDistribution
from gac_app.decoding.member import Member
from gac_app.models.base import Sequence, num_common


class PrefixContext(MemberContext):
    """A context whose member may be inside one of its own tokens when another member's ends (see `covers`).

    Attributes:
        draft_id: the draft token after what is uncomputed (see `overlapped`); reset to None if `read_ahead` does not
            read it along.
        max_draft: tokens that `read_along` may read beyond all that was fed.
    """

    draft_id: int | None = None
    max_draft = 0

    def __init__(self, member: Member, prompt_ids: list[int], sequence: Sequence | None = None) -> None:
        super().__init__(member, prompt_ids, sequence)
        self._covers = Covers(member.mapping)
        self._chain = [self._covers.last]  # boundaries whose ids the sequence holds, from the prompt's end on
        self._missed = bytearray()  # bytes fed since the member was last asked
        self._rest = b""  # the incomplete character at the end of what was missed
        self._distributions: dict[
            int, TokenDistribution
        ] = {}  # number of ids after the prompt -> the distribution there
        self._expected: MemberStep | None = None  # what `expect` returned, until a token is fed

    @property
    def is_full(self) -> bool:
        return not self._covers.fits(bytes(self._missed), self._max_ids)

    @property
    def written(self) -> bytes:
        return bytes(self._covers.text) + self._rest + bytes(self._missed)

    def ask(self) -> Future[ReadResult] | None:
        if self._ahead:
            return self._ahead
        if self._missed:
            self._leap()
        unread = self._covers.unread
        if not unread:
            return None
        return self._reach(unread[-1], (), len(unread))

    def read_along(self) -> Future[ReadResult] | None:
        ahead = self.read_ahead()
        if ahead and self.max_draft and ahead.done() and not ahead.exception():
            self._ahead = None
            self._keep(ahead.result())
            ahead = self.read_ahead()
        if not ahead and self.max_draft:
            self.draft_on(self.max_draft)
        return ahead

    def draft_on(self, num: int) -> None:
        """Let the member read ahead along its own argmax tokens: at most `num` beyond what was fed."""
        if (
            not self._draft
            and self._has_read_all
            and (distribution := self._distributions.get(self._num_held - self.num_prompt_ids))
        ):
            self._draft = self._draft_token(distribution.top[0][0])
        last = self._draft
        for _ in range(num - 1):
            if not last or (last.future.done() and last.future.exception()):
                return
            if not last.future.done():
                last.may_draft.is_on = len(self._sequence.ids) < self.member.context_length
                return
            result = last.future.result()
            result.draft = last = result.draft or self._draft_token(result.last_argmax)

    def next_argmax(self) -> int | None:
        """The likeliest token after all that was fed, if the member has drafted just that; None = not known.

        If it has drafted something else, it begins to read what is uncomputed.
        """
        if not self._draft or self._is_rejected:
            return None
        ahead = self.read_ahead()
        if not ahead or not ahead.done() or ahead.exception() or not self._has_read_all:
            return None
        return ahead.result().last_argmax

    def expect(self, result: ReadResult | None) -> MemberStep | None:
        was_ahead, self._ahead = self._ahead is not None, None
        is_kept = result is None or self._keep(result)
        if not is_kept or (was_ahead and self._missed):
            return None  # what was fed is not what was read ahead, or more
        if unread := self._covers.unread:
            self._covers.learn([self._distributions[boundary.num_ids] for boundary in unread])
        if self._rest:
            self._covers.advance(self._rest, is_partial=True)
            self._rest = b""
            if self._covers.unread:
                return None
        if not self._expected:
            self._expected = self._member_step(self._covers, result)
        return self._expected

    def _member_step(self, covers: Covers, result: ReadResult | None = None) -> MemberStep:
        """The member's step at covers whose boundaries are all read, with the cost of `result`."""
        num_read, seconds = (result.num_read, result.seconds) if result else (0, 0.0)
        return ComputedStep(covers.distribution(), num_read, seconds)

    def feed(self, token_id: int, *, is_partial: bool = False) -> tuple[bytes, ...]:
        """Append a union token.

        Returns:
            The pieces since the boundary before: more bytes than the token has if it is read as part of a longer one;
            none if the member is now inside a token.
        """
        token = self.member.mapping.union.token(token_id)
        if not self._expected or not token:
            self._missed += token
            return (token,)
        self._expected = None
        boundary = self._covers.advance(token, is_partial=is_partial)
        return self._pieces(boundary.ids) if boundary else ()

    def read_ahead(self) -> Future[ReadResult] | None:
        if self._ahead:
            is_what_is_due = not self._missed and not self._is_rejected
            if is_what_is_due or not self._ahead.done() or self._ahead.exception():
                return self._ahead
            result, self._ahead = self._ahead.result(), None
            self._keep(result)
            if self._ahead:
                return self._ahead
        boundary, ids, _ = self._covers.spelling(bytes(self._missed))
        num_wanted = min(1, len(ids) + (boundary in self._covers.unread))
        draft = self._draft_behind(boundary)
        if not draft:
            self.draft_id = None
        self._begin(self._reach(boundary, ids + draft, num_wanted + len(draft)))
        return self._ahead

    @property
    def takes_drafts(self) -> bool:
        """Whether the member can read a draft along with what is uncomputed."""
        return self.member.is_chunk_invariant

    def _draft_behind(self, boundary: Boundary) -> tuple[int, ...]:
        """The draft token as the member's id, if it is a single id and the pass that is due reads one other id."""
        if self.draft_id is None or self._draft or not self._is_at_end or not self._covers.unread:
            return ()
        ids = self.member.mapping.feed(self.draft_id)
        self._hold(boundary)
        return ids if len(ids) == self._sequence.num_uncomputed == 1 and self._has_room_for(ids) else ()

    @property
    def _is_at_end(self) -> bool:
        """Whether a token of the member may end where all that was fed does."""
        return self._covers.last.end == len(self._covers.text) and not self._rest and not self._missed

    @property
    def _has_read_all(self) -> bool:
        """Whether a pass over all that was fed is done or under way, spelt as far as known, else as it seems."""
        boundary, ids, rest = self._covers.spelling(bytes(self._missed))
        if self._is_rejected or self._rest or rest or not (self._missed or self._is_at_end):
            return False
        base, _, held = self._path(boundary)
        return self._held(base)[: self._num_held - self.num_prompt_ids - base.num_ids] == [*held, *ids]

    def _has_room_for(self, ids: tuple[int, ...]) -> bool:
        return self._covers.last.num_ids + len(ids) <= self._max_ids

    @property
    def _max_ids(self) -> int:
        """Room behind the prompt."""
        return self.member.context_length - self.num_prompt_ids

    def _leap(self) -> None:
        """Put what was missed into the covers, except an incomplete character at its end."""
        self._rest = self._covers.leap(bytes(self._missed), self.likely)
        self._missed.clear()

    def _reach(self, boundary: Boundary, ahead: tuple[int, ...], num_wanted: int) -> Future[ReadResult] | None:
        """Read up to `boundary` and the ids of `ahead`, until the last `num_wanted` distributions are known."""
        if self._draft:
            base, new, ids = self._path(boundary)
            ids += ahead
            held, num_held = self._held(base), self._num_held - self.num_prompt_ids - base.num_ids
            if held[:num_held] == ids and not self._unknown(num_wanted):
                return None
            if held[: num_held + len(self._draft.ids)] == ids:
                self._accept(self._draft)
                self._chain[base.depth + 1 :] = new
            else:
                self._reject_draft()
            if self._ahead:
                return self._ahead
        self._hold(boundary, ahead)
        return self._read_distributions(num_wanted)

    def _hold(self, boundary: Boundary, ahead: tuple[int, ...] = ()) -> None:
        """Make the sequence the ids up to `boundary`, then `ahead`. What it has read of them stays read."""
        base, new, ids = self._path(boundary)
        del self._chain[base.depth + 1 :]
        self._chain += new
        ids += ahead
        num_same = num_common(self._held(base), ids)
        start = base.num_ids + num_same
        self._distributions = {
            num_ids: distribution for num_ids, distribution in self._distributions.items() if num_ids <= start
        }
        self._sequence.rewrite(self.num_prompt_ids + start, ids[num_same:])
        self._num_held = len(self._sequence.ids)

    def _path(self, boundary: Boundary) -> tuple[Boundary, list[Boundary], list[int]]:
        """The last boundary of the chain on the way to this one, the boundaries after it, and the ids after it."""
        new: list[Boundary] = []
        while boundary.parent and boundary not in self._chain[boundary.depth : boundary.depth + 1]:
            new.insert(0, boundary)
            boundary = boundary.parent
        return boundary, new, [own for added in new for own in added.ids]

    def _held(self, boundary: Boundary) -> list[int]:
        """The sequence's ids after a boundary of the chain."""
        return self._sequence.ids[self.num_prompt_ids + boundary.num_ids :]

    def _read_distributions(self, num_wanted: int) -> Future[ReadResult] | None:
        """Read until the distributions at the sequence's last places are known; None if they are."""
        unknown = self._unknown(num_wanted)
        if not unknown:
            return None
        num_logits = self._num_held - self.num_prompt_ids - unknown[0] + 1
        if num_logits > self._sequence.num_uncomputed:  # already computed, but without its distribution
            self._sequence.rewrite(len(self._sequence.ids) - num_logits, self._sequence.ids[-num_logits:])
        return self._read(num_logits)

    def _unknown(self, num_wanted: int) -> list[int]:
        """Those of the last places held whose distributions are not known, counted in ids after the prompt."""
        end = self._num_held - self.num_prompt_ids
        return [num_ids for num_ids in range(end - num_wanted + 1, end + 1) if num_ids not in self._distributions]

    def _draft_token(self, token_id: int) -> Draft | None:
        """Begin a pass over a token that was not fed, after the finished passes; None if there is nothing to read."""
        ids, may_draft = self.member.mapping.feed(token_id), MayDraft()
        if not ids or len(self._sequence.ids) + len(ids) > self.member.context_length:
            return None
        self._sequence.extend(list(ids))
        return Draft(ids, self.member.read(self._sequence, 1, may_draft), may_draft)

    def _keep(self, result: ReadResult) -> bool:
        """Keep a read's distributions; returns False if it was of a rejected draft."""
        self._count(result)
        is_wanted = not self._is_rejected
        self._note_draft(result)
        if not is_wanted:
            return False
        end = self._num_held - self.num_prompt_ids
        start = end - len(result.distributions) + 1
        self._distributions |= {start + index: distribution for index, distribution in enumerate(result.distributions)}
        first = self._first_wanted(end)
        self._distributions = {
            num_ids: distribution for num_ids, distribution in self._distributions.items() if num_ids >= first
        }
        return True

    def _first_wanted(self, end: int) -> int:
        """The first place, in ids after the prompt, whose distribution may be needed once `end` ids are read."""
        return end - 1
