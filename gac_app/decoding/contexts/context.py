"""One member's context within one session: the answer as the member reads it, and a possibly empty draft after it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from gac_app.decoding.alignment import Boundary, Covers
from gac_app.decoding.contexts.fed_text import FedText
from gac_app.decoding.contexts.sequence_reads import IdsN, SequenceReads
from gac_app.decoding.distribution import MemberStep, ReadResult
from gac_app.decoding.member import Member
from gac_app.decoding.trace import MemberUsage
from gac_app.models.sequence import KVSequence
from gac_app.vocab.tokens import whole_characters
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

    Place `i` is after the answer and `i` draft tokens. While the answer follows the draft, the member needs no further
    pass. It reads a draft as it is expected to cut it: where its distributions are known, as its covers cut each draft
    token; after that, as its tokeniser cuts the rest.

    Args:
        member: whose context this is.
        speculate_when_idle: the member reads ahead of what is asked only while no other answer uses it.

    Attributes:
        text: what was fed; see `FedText`.
        draft: union tokens that may follow.
    """

    def __init__(
        self,
        member: Member,
        sequence: KVSequence,
        *,
        is_aligned: bool = False,
        speculate_when_idle: bool = False,
    ) -> None:
        self.member, self.name = member, member.name
        self._speculate_when_idle = speculate_when_idle
        self._is_aligned = is_aligned
        self.text = FedText(member.mapping)
        self.reads = SequenceReads(member, sequence)
        self.draft: list[int] = []
        self._places: list[Covers] = []  # from place 0, as far as distributions are known; the last may be unread
        self._step: MemberStep | None = None  # what `take` returned, until a token is fed
        self._is_asked = False  # at this step

    @property
    def is_full(self) -> bool:
        """Whether the ids no longer fit the member's context, so that it cannot be asked."""
        return not self.text.fits(self.reads.max_ids)

    @property
    def prompt_tokens(self) -> IdsV:
        """The prompt in union ids; -1 for what is no text."""
        return self.member.mapping.union_ids_V[list(self.reads.sequence.prompt)]

    @property
    def share_read(self) -> float:
        """Of the prompt, 0 to 1; safe to call from any thread."""
        sequence = self.reads.sequence
        return min(1.0, len(sequence.ids) / max(1, len(sequence.prompt)))

    @property
    def usage(self) -> MemberUsage:
        return self.reads.usage

    def ask(self) -> Future[ReadResult] | None:
        """Read what is uncomputed; None if there is nothing to read. `take` must follow once the read is over."""
        self.reads.sequence.is_awaited = True
        if self.reads.is_asked and not self.text.pending_bytes:  # by `prefetch`
            return self.reads.awaited
        self._catch_up()
        return self.reads.ensure_computed(*self._needed())

    def take(self) -> MemberStep | None:
        """The member's step from the read that was asked for, which is over.

        None = more has to be asked: the read gave only a part, or the boundary after an incomplete character is known
        only now.

        Raises:
            MemberError: the read has failed.
        """
        self._places.clear()
        self.reads.collect()
        if self.text.pending_bytes or self.reads.fill_in(self.text.covers):
            return None
        if self.text.incomplete_utf8:
            self.text.take_incomplete()
            if self.text.covers.unread:
                return None
        distribution = self._step.distribution if self._step else self.text.covers.distribution()
        self._step = MemberStep(distribution, self.reads.num_read, self.reads.seconds)
        self._is_asked = True
        return self._step

    def can_skip_forward(self) -> bool:
        """Catch up as `ask` does, without reading. Returns whether this is enough to feed a token that is not partial;
        then it is fed as if the member had been asked.
        """
        self._catch_up()
        self._is_asked = self.text.is_covered and self.text.covers.is_at_end
        return self._is_asked

    def feed(self, token_id: int, *, is_partial: bool = False) -> tuple[bytes, ...]:
        """Append a union token: the first draft token, or the draft is dropped.

        Args:
            is_partial: the member's token may go on beyond it.

        Returns:
            The pieces since the boundary before: more bytes than the token has if it is read as part of a longer one;
            none if the member is now inside a token.
        """
        token = self.member.mapping.union.token(token_id)
        self.draft = self.draft[1:] if self.draft[:1] == [token_id] else []
        self._places.clear()
        was_asked, self._is_asked, self._step = self._is_asked, False, None
        covers, boundary = self.text.covers, None
        if is_missed := self._is_aligned and not (was_asked and token):
            self.text.miss(token)
        else:
            boundary = covers.advance(token, is_partial=is_partial)
        self.reads.end_step((covers.unread or [covers.last])[0].num_ids)
        if is_missed:
            return (token,)
        token_bytes = self.member.mapping.vocabulary.token_bytes
        return tuple([token_bytes[own] or b"" for own in boundary.ids]) if boundary else ()

    def drop_draft(self) -> None:
        """Drop the draft, and what a failed pass left of it."""
        self.draft = []
        self._places.clear()
        self.reads.cancel()

    def close(self) -> None:
        """Free the sequence. A pass under way is not waited for, but counts in `usage`."""
        self.reads.close()

    # --- what is known, and what is to be read

    @property
    def num_uncomputed(self) -> int:
        """Ids to read, drafted ones included, of a member whose next step needs a pass."""
        ids, num_unread = self._needed()
        return max(num_unread, len(self.reads.sequence.prompt) + len(ids) - len(self.reads.sequence.ids))

    def has_room_for(self, token_id: int) -> bool:
        """Whether the context can hold one more draft token, wherever the member's tokens end."""
        tokens, text = [*self.draft, token_id], self.text
        if self._is_aligned:
            num_bytes = len(text.incomplete_utf8) + len(text.pending_bytes) + len(self._bytes_of(tokens))
            return text.covers.surely_fits(num_bytes, self.reads.max_ids)
        return text.covers.last.num_ids + len(self._fed_as(tokens)) <= self.reads.max_ids

    def add_draft(self, tokens: Iterable[int]) -> int:
        """Let the pass that is due read these tokens too, up to the first that takes more than one id, if it has not
        begun and reads one id as it is. Returns the number of tokens added. In fixed chunks, a draft would take a pass
        for each id.
        """
        is_fixed = self.reads.sequence.fixed_chunk_prompt_len is not None
        is_free = not is_fixed and self.reads.is_idle and self.text.is_at_boundary and self.num_uncomputed == 1
        for token_id in tokens if is_free else ():
            if len(self.member.mapping.feed(token_id)) != 1 or not self.has_room_for(token_id):
                break
            self.draft.append(token_id)
        return len(self.draft) if is_free else 0

    def _known(self) -> tuple[list[Covers], list[Boundary]]:
        """The covers at each place, as if the draft had been chosen, up to the first place that is not read; and what
        is unread there.
        """
        text, fill_in = self.text, self.reads.fill_in
        if text.is_covered:
            unread = fill_in(text.covers)
            if not self.draft:
                return [text.covers], unread
        if not self._places:
            present, rest = text.caught_up()
            if rest and not fill_in(present):
                present.advance(rest, is_partial=True)
            self._places = [present]
        while not (unread := fill_in(self._places[-1])) and len(self._places) <= len(self.draft):
            following = self._places[-1].fork()
            token = self.member.mapping.union.token(self.draft[len(self._places) - 1])
            following.advance(token, is_partial=False)
            self._places.append(following)
        return self._places, unread

    def _needed(self) -> tuple[IdsN, int]:
        """What a pass should read: the ids after the prompt, and how many distributions at their end are unknown; none
        if the next step needs no pass.
        """
        places, unread = self._known()
        if len(places) > bool(unread):
            return (), 0
        boundary = unread[-1] if unread else places[-1].likeliest
        ids: IdsN = ()
        if not self._is_aligned:
            ids = self._fed_as(self.draft[len(places) - 1 :])
        elif self.draft:
            text = (self.text.written + self._bytes_of(self.draft))[boundary.end :]
            ids = self.member.mapping.spell(whole_characters(text))[: self.reads.max_ids - boundary.num_ids]
        return boundary.path + ids, len(unread) + len(ids)

    def _bytes_of(self, tokens: Iterable[int]) -> bytes:
        return b"".join(map(self.member.mapping.union.token, tokens))

    def _fed_as(self, tokens: Iterable[int]) -> IdsN:
        """The member's ids of union tokens, each by itself."""
        return tuple([own for token_id in tokens for own in self.member.mapping.feed(token_id)])

    # --- passes that nobody waits for

    def prefetch(self) -> None:
        """Begin to read what is uncomputed; of what was missed, the likely spelling as far as it is whole."""
        if self.text.covers.unread and not self.text.pending_bytes:
            self.reads.ensure_computed(*self._needed())
        else:
            boundary, likely, _ = self.text.spelling()
            if likely:
                self.reads.ensure_computed(boundary.path + likely)

    @property
    def may_read_ahead(self) -> bool:
        """Whether the member may read what it is not asked for."""
        return not self._speculate_when_idle or self.is_alone

    @property
    def is_alone(self) -> bool:
        """Whether no other answer uses the member, so that a longer pass delays nobody."""
        return self.member.is_free_for(self.reads.sequence)

    def read_along(self) -> None:
        """As `prefetch`, for a member that is not asked. While others use it, it reads when nobody waits for it."""
        self.reads.sequence.is_awaited = is_free = self.may_read_ahead
        if is_free or self.member.reads_ahead:
            self.prefetch()

    def extend_own_draft(self, num: int) -> None:
        """Let the member read its own likely tokens: at most `num` beyond what was fed."""
        if num and (ids := self._all_ids) is not None:
            self.reads.draft_ahead(ids, num)

    def next_draft_id(self) -> int | None:
        """The member's likely token after all that was fed, if it has drafted just that; None = not known."""
        ids = self._all_ids
        return None if ids is None else self.reads.drafted_after(ids)

    @property
    def _all_ids(self) -> IdsN | None:
        """The likely spelling of all that was fed; None if the member may be inside a token or a character."""
        boundary, ids, rest = self.text.spelling()
        is_whole = not (self.text.incomplete_utf8 or rest) and (self.text.pending_bytes or self.text.is_at_boundary)
        return boundary.path + ids if is_whole else None

    def _catch_up(self) -> None:
        if self.text.pending_bytes:
            self.text.catch_up()
            self._places.clear()
