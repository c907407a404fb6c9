"""One member's context within one session: the answer as the member reads it, and a possibly empty draft after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future

from gac_app.decoding.contexts.draft_places import DraftPlaces
from gac_app.decoding.contexts.fed_text import FedText
from gac_app.decoding.contexts.held_sequence import HeldSequence
from gac_app.decoding.distribution import Choose, MemberStep, ReadResult, Stage
from gac_app.decoding.member import Member
from gac_app.decoding.trace import MemberUsage
from gac_app.models.base import Sequence
from gac_app.vocab.union import IdsV


class MemberContext:
    """Reads the answer as it is fed, and gives the member's distribution at each step.

    A member that is not asked leaves its ids uncomputed or prefetches them, in a pass that nobody waits for until
    `ask` finds it. If `is_aligned` (alignment "prefix"), it reads the answer's bytes as its own tokens, whatever
    pieces others cut them into, and may be inside one of them when another member's ends (see `covers`). Otherwise it
    reads every union token by ids of its own.

    A step asks like this; `gather` does it for several members at once:

        future = context.ask()
        while (step := (wait for future, then) context.take()) is None:
            future = context.ask()      # mostly never: see `take`
        context.feed(token_id)

    Args:
        member: whose context this is.
        sequence: holds the prompt, with at least its last id uncomputed.
        num_greedy: how many tokens the answer may have, each of them this member's argmax (see `HeldSequence`).
        gives_way: the member reads ahead of what is asked only while no other answer uses it.

    Attributes:
        text: what was fed; see `FedText`.
        draft: union tokens that may follow; see `DraftPlaces`.
        num_wanted: how many places of the draft `ask` is to make known. A pass reads the whole draft.
        max_draft: tokens that `prefetch_and_draft` may read beyond all that was fed.
    """

    num_wanted = 1
    max_draft = 0

    def __init__(
        self,
        member: Member,
        sequence: Sequence,
        *,
        is_aligned: bool = False,
        num_greedy: int = 0,
        gives_way: bool = False,
    ) -> None:
        self.member = member
        self._gives_way = gives_way
        self._is_aligned = is_aligned
        self.text = FedText(member.mapping)
        self._held = HeldSequence(member, sequence, self.text.covers.last, num_greedy)
        self._max_ids = member.model.context_length - self._held.num_prompt_ids  # after the prompt
        self.draft = DraftPlaces(member.mapping, self.text, self._held, self._max_ids, is_aligned=is_aligned)
        self._step: MemberStep | None = None  # what `take` returned, until a token is fed
        self._is_asked = False  # at this step
        self._num_read, self._seconds = 0, 0.0  # that it took

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def is_full(self) -> bool:
        """Whether the ids no longer fit the member's context, so that it cannot be asked."""
        return not self.text.fits(self._max_ids)

    @property
    def prompt_tokens(self) -> IdsV:
        """The prompt in union ids; -1 for what is no text."""
        return self.member.mapping.union_ids_V[self._held.sequence.ids[: self._held.num_prompt_ids]]

    @property
    def share_read(self) -> float:
        """Of the prompt, 0 to 1; safe to call from any thread."""
        return min(1.0, self._held.num_computed / max(1, self._held.num_prompt_ids))

    @property
    def progress(self) -> int:
        """Changes while what it has asked for is read."""
        return self._held.sequence.progress

    @property
    def usage(self) -> MemberUsage:
        return self._held.usage

    def ask(self) -> Future[ReadResult] | None:
        """Read what is uncomputed; None if there is nothing to read. `take` must follow once the read is over."""
        if self._held.in_flight:
            return self._held.in_flight
        self._catch_up()
        self._held.fill_in(self.text.covers)  # before a read of the draft changes the cache
        return None if self.is_read else self._held.reach(*self.draft.needed())

    def take(self) -> MemberStep | None:
        """The member's step from the read that was asked for, which is over.

        None = more has to be asked: the read was of a rejected draft, or had begun before the last tokens were fed; or
        the boundary after an incomplete character is known only now.

        Raises:
            MemberError: the read has failed.
        """
        self.draft.invalidate()
        result = None
        if self._held.in_flight:
            result = self._take_read()
            if not result:
                return None
            self._num_read += result.num_read
            self._seconds += result.seconds
        if self.text.missed or not self._held.fill_in(self.text.covers):
            return None
        if self.text.rest:
            self.text.take_rest()
            if self.text.covers.unread:
                return None
        if not self._step or result:
            distribution = self._step.distribution if self._step else self.text.covers.distribution()
            self._step = MemberStep(distribution, self._num_read, self._seconds)
        self._is_asked = True
        return self._step

    def recall(self) -> bool:
        """Catch up as `ask` does, without reading. Returns whether this is enough to feed a token that is not partial;
        then it is fed as if the member had been asked.
        """
        self._catch_up()
        self._is_asked = self.text.is_covered and self.text.covers.is_settled
        return self._is_asked

    def feed(self, token_id: int, *, is_partial: bool = False) -> tuple[bytes, ...]:
        """Append a union token.

        Args:
            is_partial: the member's token may go on beyond it.

        Returns:
            The pieces since the boundary before: more bytes than the token has if it is read as part of a longer one;
            none if the member is now inside a token.
        """
        token = self.member.mapping.union.token(token_id)
        self._held.num_greedy -= 1
        self._num_read, self._seconds = 0, 0.0
        self.draft.advance(token_id)
        was_asked, self._is_asked, self._step = self._is_asked, False, None
        if self._is_aligned and not (was_asked and token):
            self.text.miss(token)
            return (token,)
        boundary = self.text.covers.advance(token, is_partial=is_partial)
        vocabulary = self.member.mapping.vocabulary
        return tuple(vocabulary.token_bytes[own] or b"" for own in boundary.ids) if boundary else ()

    def skip_step(self) -> None:
        """Tell the member that, as far as is known, the next step needs no read."""
        self._held.skip_step()

    def drop_draft(self) -> None:
        """Drop the draft, including what a failed pass may have left of it."""
        self.draft.clear()
        self._held.forget_failed(self.text.covers.last)

    def close(self) -> None:
        """Free the sequence. A pass under way is not waited for, but counts in `usage`."""
        self._held.close()

    # --- what is known, and what is to be read

    @property
    def is_known(self) -> bool:
        """Whether the next step needs no pass of this member."""
        return not self.draft.known()[0].unread

    @property
    def is_read(self) -> bool:
        """Whether `ask` has nothing to read."""
        return self.draft.is_read(self.num_wanted)

    @property
    def num_uncomputed(self) -> int:
        """Ids to read, drafted ones included."""
        boundary, draft_ids, num_rows = self.draft.needed()
        end = self._held.num_prompt_ids + boundary.num_ids + len(draft_ids)
        return max(num_rows, end - self._held.num_computed)

    def step_at(self, place: int) -> MemberStep | None:
        """The member's distribution at a place of the draft; None if it is not read yet."""
        places = self.draft.known()
        if place >= len(places) or places[place].unread:
            return None
        return MemberStep(places[place].distribution(), 0, 0.0)

    def add_draft(self, tokens: Iterable[int], made_by: tuple[str, ...]) -> None:
        """Let the pass that is due read these tokens too, up to the first that takes more than one id, if it has not
        begun and reads one id as it is. `made_by`: the members who drafted them.
        """
        is_free = not self._held.stage and self.num_uncomputed == 1 and self.text.is_at_boundary
        for token_id in tokens if is_free and not self._held.num_draft else ():
            if len(self.member.mapping.feed(token_id)) != 1 or not self.draft.has_room_for(token_id):
                break
            self.draft.append(token_id)
            self.draft.made_by = made_by

    # --- passes that nobody waits for

    def prefetch(self) -> Future[ReadResult] | None:
        """Begin to read what is uncomputed, unless a pass is under way. Returns the pass that `ask` would find.

        A pass that failed stays, so that `ask` finds it.
        """
        covers = self.text.covers
        if in_flight := self._held.in_flight:
            is_due = not self.text.missed and self._held.stage is Stage.DUE and self._held.last is covers.last
            if is_due or not in_flight.done() or in_flight.exception():
                return in_flight
            self._take_read()
            if self._held.in_flight:
                return self._held.in_flight
        if covers.unread and not self.text.missed:
            boundary, ids, num_rows = self.draft.needed()
        else:
            boundary, ids, _ = self.text.spelling()
            num_rows = min(1, len(ids))
        in_flight = self._held.reach(boundary, ids, num_rows)
        if not in_flight:
            self._held.skip_step()
        return in_flight

    @property
    def may_read_ahead(self) -> bool:
        """Whether the member may read what it is not asked for."""
        return not self._gives_way or self.is_alone

    @property
    def is_alone(self) -> bool:
        """Whether no other answer uses the member, so that a longer pass delays nobody."""
        return self.member.is_free_for(self._held.sequence)

    def prefetch_and_draft(self) -> Future[ReadResult] | None:
        """As `prefetch`, for a member that is not asked; it may draft up to `max_draft` tokens."""
        if not self.may_read_ahead:
            return None
        in_flight = self.prefetch()
        if in_flight and self.max_draft and in_flight.done() and not in_flight.exception():
            self._take_read()
            in_flight = self.prefetch()
        if not in_flight and self.max_draft:
            self.extend_own_draft(self.max_draft)
        return in_flight

    def draft_by(self, new_choice: Callable[[], Choose]) -> None:
        """Let the member draft other tokens than its argmax; see `HeldSequence.new_choice`."""
        self._held.new_choice = new_choice

    def extend_own_draft(self, num: int) -> None:
        """Let the member read its own likely tokens: at most `num` beyond what was fed."""
        if self._held.stage is Stage.DRAFT or self._has_read_all:
            self._held.draft(num)

    def next_draft_id(self) -> int | None:
        """The member's likely token after all that was fed, if it has drafted just that; None = not known.

        If it has drafted something else, it begins to read what is uncomputed.
        """
        if self._held.stage is not Stage.DRAFT:
            return None
        in_flight = self.prefetch()
        if not in_flight or not in_flight.done() or in_flight.exception() or not self._has_read_all:
            return None
        return in_flight.result().draft_id

    @property
    def _has_read_all(self) -> bool:
        """Whether a pass over everything fed, in its likely spelling, is done or under way."""
        boundary, ids, rest = self.text.spelling()
        if self._held.stage is Stage.REJECTED or self.text.rest or rest:
            return False
        return bool(self.text.missed or self.text.is_at_boundary) and self._held.holds(boundary, ids)

    def _catch_up(self) -> None:
        if self.text.missed:
            self.text.catch_up()
            self.draft.invalidate()

    def _take_read(self) -> ReadResult | None:
        covers = self.text.covers
        return self._held.take((covers.unread or [covers.last])[0].num_ids)
