"""One member's context within one session: what it has read, and what it expects next."""

from __future__ import annotations

from concurrent.futures import Future

from gac_app.decoding.alignment import Boundary, Covers, whole_characters
from gac_app.decoding.contexts.held_sequence import HeldSequence
from gac_app.decoding.distribution import MemberStep, ReadResult
from gac_app.decoding.member import Member
from gac_app.decoding.trace import MemberUsage
from gac_app.models.base import Sequence


class MemberContext:
    """The answer as one member reads it, and a possibly empty draft of union tokens after it.

    A member that is not asked leaves its ids uncomputed or reads them ahead, in a pass that nobody waits for until
    `ask` finds it. If `is_aligned` (alignment "prefix"), it reads the answer's bytes as its own tokens, whatever
    pieces others cut them into, and may be inside one of them when another member's ends (see `covers`). Else it reads
    every union token by ids of its own.

    Place `i` is after the answer and `i` draft tokens. Distributions at drafted places are kept: while the answer goes
    as drafted, the member needs no further pass. Where it does not, the draft is dropped, and the cache is rewound
    before the next read. A draft is read as the member is expected to cut it: where its distributions are known, as its
    covers cut each drafted token; after that, as its tokeniser cuts the rest.

    Args:
        member: whose context this is.
        prompt_ids: the prompt in the member's own ids.
        sequence: one that already holds `prompt_ids`, with at least the last uncomputed; None = a new one.
        num_greedy: how many tokens the answer may have, each of them this member's argmax (see `HeldSequence`).

    Attributes:
        likely: pieces that may come next, according to another member; None = not known.
        num_wanted: how many of the places `ask` is to make known. A pass reads the whole draft.
        max_draft: tokens that `read_along` may read beyond all that was fed.
    """

    likely: list[bytes] | None = None
    num_wanted = 1
    max_draft = 0

    def __init__(
        self,
        member: Member,
        prompt_ids: list[int],
        sequence: Sequence | None = None,
        *,
        is_aligned: bool = False,
        num_greedy: int = 0,
    ) -> None:
        self.member = member
        self._is_aligned = is_aligned
        self._covers = Covers(member.mapping)
        self._held = HeldSequence(member, sequence or member.open(prompt_ids), self._covers.last, num_greedy)
        self._missed = bytearray()  # bytes fed since the member was last asked
        self._rest = b""  # the incomplete character at the end of what was missed
        self._drafted: list[int] = []  # union ids
        self._places: list[Covers] = []  # from place 0, as far as distributions are known; the last may be unread
        self._expected: MemberStep | None = None  # what `expect` returned, until a token is fed
        self._num_read, self._seconds = 0, 0.0  # that it took

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def is_full(self) -> bool:
        """Whether the ids no longer fit the member's context, so that it cannot be asked."""
        return not self._covers.fits(bytes(self._missed), self._max_ids)

    @property
    def written(self) -> bytes:
        """The bytes fed since the prompt."""
        return bytes(self._covers.text) + self._rest + bytes(self._missed)

    @property
    def share_read(self) -> float:
        """Of the prompt, 0 to 1; safe to call from any thread."""
        return min(1.0, self._held.num_computed / max(1, self._held.num_prompt_ids))

    @property
    def usage(self) -> MemberUsage:
        return self._held.usage

    def ask(self) -> Future[ReadResult] | None:
        """Read whatever is uncomputed; None if there is nothing to read. A pass that reads ahead comes first."""
        if self._held.ahead:
            return self._held.ahead
        if self._missed:
            self._leap()
        self._learns(self._covers)  # before the cache leaves the answer's path
        return None if self.is_read else self._held.reach(*self._needed())

    def expect(self, result: ReadResult | None) -> MemberStep | None:
        """The member's step from the read that was asked for; None if more has to be asked."""
        self._places.clear()
        if result:
            if not self._keep(result):
                return None
            self._num_read += result.num_read
            self._seconds += result.seconds
        if self._missed or not self._learns(self._covers):
            return None  # what was fed is not what was read ahead, or more
        if self._rest:
            self._covers.advance(self._rest, is_partial=True)
            self._rest = b""
            if self._covers.unread:
                return None
        if not self._expected or result:
            distribution = self._expected.distribution if self._expected else self._covers.distribution()
            self._expected = MemberStep(distribution, self._num_read, self._seconds)
        return self._expected

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
        self._places.clear()
        if self.drafts(token_id):
            del self._drafted[0]
        else:
            self._drafted.clear()
        if self._is_aligned and not (self._expected and token):
            self._missed += token
            return (token,)
        self._expected = None
        boundary = self._covers.advance(token, is_partial=is_partial)
        vocabulary = self.member.mapping.vocabulary
        return tuple(vocabulary.token_bytes[own] or b"" for own in boundary.ids) if boundary else ()

    def skip_step(self) -> None:
        """Tell the member that, as far as is known, the next step needs no read."""
        self._held.skip_step()

    def close(self) -> None:
        """Free the sequence. A pass under way is not waited for, but counts in `usage`."""
        self._held.close()

    # --- reading ahead

    def read_ahead(self) -> Future[ReadResult] | None:
        """Begin to read what is uncomputed, unless a pass is under way. Returns the pass that `ask` would find.

        A pass that failed stays, so that `ask` finds it.
        """
        if ahead := self._held.ahead:
            is_what_is_due = not self._missed and not self._held.is_rejected and self._held.last is self._covers.last
            if is_what_is_due or not ahead.done() or ahead.exception():
                return ahead
            self._keep(ahead.result())
            if self._held.ahead:
                return self._held.ahead
        if self._covers.unread and not self._missed:
            boundary, ids, num_rows = self._needed()
        else:
            boundary, ids, _ = self._covers.spelling(bytes(self._missed))
            num_rows = min(1, len(ids))
        self._held.begin(self._held.reach(boundary, ids, num_rows))
        return self._held.ahead

    def read_along(self) -> Future[ReadResult] | None:
        """As `read_ahead`, for a member that is not asked; it may read further."""
        ahead = self.read_ahead()
        if ahead and self.max_draft and ahead.done() and not ahead.exception():
            self._keep(ahead.result())
            ahead = self.read_ahead()
        if not ahead and self.max_draft:
            self.draft_on(self.max_draft)
        return ahead

    def draft_on(self, num: int) -> None:
        """Let the member read ahead along its own argmax tokens: at most `num` beyond what was fed."""
        if self._held.draft or self._has_read_all:
            self._held.draft_on(num)

    def next_argmax(self) -> int | None:
        """The likeliest token after all that was fed, if the member has drafted just that; None = not known.

        If it has drafted something else, it begins to read what is uncomputed.
        """
        if not self._held.draft or self._held.is_rejected:
            return None
        ahead = self.read_ahead()
        if not ahead or not ahead.done() or ahead.exception() or not self._has_read_all:
            return None
        return ahead.result().last_argmax

    @property
    def _is_at_end(self) -> bool:
        """Whether a token of the member may end where all that was fed does."""
        return self._covers.last.end == len(self._covers.text) and not self._rest and not self._missed

    @property
    def _has_read_all(self) -> bool:
        """Whether a pass over all that was fed is done or under way, spelt as far as known, else as it seems."""
        boundary, ids, rest = self._covers.spelling(bytes(self._missed))
        if self._held.is_rejected or self._rest or rest or not (self._missed or self._is_at_end):
            return False
        return self._held.holds(boundary, ids)

    # --- the draft

    def known_at(self, place: int) -> MemberStep | None:
        """What the member expects at a place; None if it is not read yet."""
        places = self._known_places()
        if place >= len(places) or places[place].unread:
            return None
        return MemberStep(places[place].distribution(), 0, 0.0)

    @property
    def is_known(self) -> bool:
        """Whether the next step needs no pass of this member."""
        return not self._known_places()[0].unread

    @property
    def is_read(self) -> bool:
        """Whether `ask` has nothing to read."""
        places = self._known_places()
        return len(places) - bool(places[-1].unread) >= min(self.num_wanted, len(self._drafted) + 1)

    @property
    def num_uncomputed(self) -> int:
        """Ids to read, drafted ones included."""
        boundary, ahead, num_rows = self._needed()
        end = self._held.num_prompt_ids + boundary.num_ids + len(ahead)
        return max(num_rows, end - self._held.num_computed)

    def has_room_for(self, token_id: int) -> bool:
        """Whether the context can hold one more drafted token."""
        tokens = [*self._drafted, token_id]
        if self._is_aligned:
            return self._covers.fits(bytes(self._missed) + self._bytes_of(tokens), self._max_ids)
        return self._covers.last.num_ids + len(self._fed_as(tokens)) <= self._max_ids

    def takes_along(self, token_id: int) -> bool:
        """Whether the pass that is due reads one id, and may read this token as another."""
        is_single = self.num_uncomputed == 1 == len(self.member.mapping.feed(token_id))
        return is_single and self._is_at_end and not self._held.draft and self.has_room_for(token_id)

    def drafts(self, token_id: int) -> bool:
        """Whether this is the first token of the draft."""
        return self._drafted[:1] == [token_id]

    def draft(self, token_id: int) -> None:
        """Append a union token to the draft."""
        self._drafted.append(token_id)

    def forget(self) -> None:
        """Drop the draft, including what a failed pass may have left of it."""
        self._drafted.clear()
        self._places.clear()
        self._held.hold(self._covers.last)

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
            token = self.member.mapping.union.token(self._drafted[len(self._places) - 1])
            following.advance(token, is_partial=False)
            self._places.append(following)
        return self._places

    def _needed(self) -> tuple[Boundary, tuple[int, ...], int]:
        """What a pass should read: up to which boundary, which ids after it, and how many distributions to give."""
        places = self._known_places()
        unread = places[-1].unread
        boundary = unread[-1] if unread else places[-1].likeliest
        if not self._is_aligned:
            ahead = self._fed_as(self._drafted[len(places) - 1 :])
        elif self._drafted:
            text = (self.written + self._bytes_of(self._drafted))[boundary.end :]
            ahead = self.member.mapping.spell(whole_characters(text))[: self._max_ids - boundary.num_ids]
        else:
            ahead = ()
        return boundary, ahead, len(unread) + len(ahead)

    # --- what both need

    def _leap(self) -> None:
        """Put what was missed into the covers, except an incomplete character at its end."""
        self._rest = self._covers.leap(bytes(self._missed), self.likely)
        self._missed.clear()
        self._places.clear()

    def _learns(self, covers: Covers) -> bool:
        """Whether all that these covers need has been read; if so, they learn it."""
        unread = covers.unread
        known = [found for boundary in unread if (found := self._held.distribution_at(boundary))]
        if len(known) < len(unread):
            return False
        if known:
            covers.learn(known)
        return True

    def _keep(self, result: ReadResult) -> bool:
        return self._held.keep(result, (self._covers.unread or [self._covers.last])[0].num_ids)

    @property
    def _max_ids(self) -> int:
        """Room after the prompt."""
        return self.member.context_length - self._held.num_prompt_ids

    def _bytes_of(self, tokens: list[int]) -> bytes:
        return b"".join(map(self.member.mapping.union.token, tokens))

    def _fed_as(self, tokens: list[int]) -> tuple[int, ...]:
        """The member's ids of union tokens, each by itself."""
        return tuple(own for token_id in tokens for own in self.member.mapping.feed(token_id))
