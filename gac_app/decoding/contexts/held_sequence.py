"""The sequence of a member's context: which ids it holds, the distributions after them, and passes under way."""

from __future__ import annotations

from concurrent.futures import Future

from gac_app.decoding.alignment import Boundary, Covers
from gac_app.decoding.distribution import Draft, MayDraft, ReadResult, TokenDistribution
from gac_app.decoding.member import Member
from gac_app.decoding.trace import MemberUsage
from gac_app.models.base import Sequence, num_common


class HeldSequence:
    """A sequence that follows a chain of boundaries after its prompt. It does not change during a pass.

    The member may draft: it reads its own argmax token before anybody asks for it. If that token has to be read next,
    the draft is accepted. Otherwise its pass is waited for like any other, then dropped. The states, each by `draft`,
    `is_rejected` and `in_flight`:

        nothing under way          None, False, None
        a pass begun by `begin`    None, False, the pass
        a draft, not yet needed    the draft, False, None
        accepted: a pass to take   None, False, the draft's pass
        rejected: a pass to drop   the draft, True, the draft's pass

    The member's thread appends a draft's ids to the sequence when a pass ends (`forward.draft_after`), maybe while this
    class looks at it. Therefore only the first `num_held` ids are compared until `keep` has taken that pass's result.

    Args:
        sequence: holds the prompt, with at least its last id uncomputed.
        start: the end of the prompt.

    Attributes:
        sequence: read only; this class alone changes its ids.
        num_greedy: how many tokens may follow, each of them the member's argmax; 0 = any token may be chosen. If
            greedy, the member drafts one token after each pass.
        num_held: ids held, without the member's own draft after them.
        in_flight: a pass begun before it was asked for; None = none. One that failed stays.
        draft: the member's own argmax tokens, which nobody has asked for so far.
        is_rejected: another token than the drafted one was chosen.
        distributions: number of ids after the prompt -> the distribution there.
    """

    def __init__(self, member: Member, sequence: Sequence, start: Boundary, num_greedy: int) -> None:
        self.num_greedy = num_greedy
        self.num_prompt_ids = self.num_held = len(sequence.ids)
        self.in_flight: Future[ReadResult] | None = None
        self.draft: Draft | None = None
        self.is_rejected = False
        self.distributions: dict[int, TokenDistribution] = {}
        self._member = member
        self.sequence = sequence
        self._chain = [start]  # boundaries whose ids are held
        self._num_in_flight = 0  # ids that the pass in flight reads
        self._num_asked = 0  # ids that the last pass asked for reads
        self._may_draft = MayDraft()  # for the last pass asked for
        self._is_waited_for = False  # batches wait for this sequence
        self._num_forwards = 0
        self._num_tokens_read = 0
        self._seconds = 0.0

    @property
    def end(self) -> int:
        """Ids held after the prompt."""
        return self.num_held - self.num_prompt_ids

    @property
    def last(self) -> Boundary:
        """The last boundary whose ids are held."""
        return self._chain[-1]

    @property
    def num_computed(self) -> int:
        return self.sequence.num_computed

    @property
    def has_room(self) -> bool:
        """Whether one more id fits the member's context."""
        return len(self.sequence.ids) < self._member.context_length

    @property
    def is_undisturbed(self) -> bool:
        """Whether no other answer uses the member."""
        return self._member.is_free_for(self.sequence)

    @property
    def usage(self) -> MemberUsage:
        return MemberUsage(self._num_forwards, self._num_tokens_read, self._seconds)

    def reach(
        self, boundary: Boundary, draft_ids: tuple[int, ...] = (), num_wanted: int = 1
    ) -> Future[ReadResult] | None:
        """Read up to `boundary` and `draft_ids`, until the last `num_wanted` distributions are known."""
        if self.draft:
            base, new, ids = self._path(boundary)
            ids += draft_ids
            held, num_held = self._after(base), self.end - base.num_ids
            if held[:num_held] == ids and not self._unknown(num_wanted):
                return None
            if held[: num_held + len(self.draft.ids)] == ids:
                self._accept(self.draft)
                self._chain[base.depth + 1 :] = new
            else:
                self._reject_draft()
            if self.in_flight:
                return self.in_flight
        self.hold(boundary, draft_ids)
        return self._read_distributions(num_wanted)

    def begin(self, prefetch: Future[ReadResult] | None) -> None:
        """Note a pass that nobody waits for; None = there is nothing to read."""
        if prefetch and prefetch is self.in_flight:
            return  # an accepted draft
        self.in_flight = prefetch
        self._num_in_flight = self._num_asked if prefetch else 0
        if not prefetch:
            self.skip_step()

    def keep(self, result: ReadResult, first: int) -> bool:
        """A pass is over: keep its distributions. Returns False if it read a rejected draft.

        Args:
            first: the first place, in ids after the prompt, whose distribution may still be needed.
        """
        self._count(result)
        self.in_flight = None
        was_rejected, self.is_rejected = self.is_rejected, False
        self.draft = result.draft
        if was_rejected:  # so is a draft after it
            if self.draft:
                self._reject_draft()
            else:
                self._drop_draft()
            return False
        start = self.end - len(result.distributions) + 1
        self.distributions |= {start + index: distribution for index, distribution in enumerate(result.distributions)}
        first = min(first, self.end - 1)
        self.distributions = {num_ids: known for num_ids, known in self.distributions.items() if num_ids >= first}
        return True

    def distribution_at(self, boundary: Boundary) -> TokenDistribution | None:
        """The distribution at a boundary, if it was read there."""
        base, _, ids = self._path(boundary)
        return self.distributions.get(boundary.num_ids) if self._after(base)[: len(ids)] == ids else None

    def teach(self, covers: Covers) -> bool:
        """Give covers the distributions that they need, if all of them have been read. Returns whether they were."""
        unread = covers.unread
        known = [found for boundary in unread if (found := self.distribution_at(boundary))]
        if len(known) < len(unread):
            return False
        if known:
            covers.learn(known)
        return True

    def hold(self, boundary: Boundary, draft_ids: tuple[int, ...] = ()) -> None:
        """Make the sequence the ids up to `boundary`, then `draft_ids`. What it has computed of them is kept."""
        base, new, ids = self._path(boundary)
        del self._chain[base.depth + 1 :]
        self._chain += new
        ids += draft_ids
        num_same = num_common(self._after(base), ids)
        start = base.num_ids + num_same
        self.distributions = {num_ids: known for num_ids, known in self.distributions.items() if num_ids <= start}
        self.sequence.rewrite(self.num_prompt_ids + start, ids[num_same:])
        self.num_held = len(self.sequence.ids)

    def holds(self, boundary: Boundary, ids: tuple[int, ...]) -> bool:
        """Whether the sequence holds just the ids up to `boundary`, then `ids`."""
        base, _, held = self._path(boundary)
        return self._after(base)[: self.end - base.num_ids] == [*held, *ids]

    def extend_draft(self, num: int) -> None:
        """Let the member draft up to `num` of its argmax tokens, each after a finished pass."""
        if not self.draft and (known := self.distributions.get(self.end)):
            self.draft = self._draft_token(known.argmax_id)
        last = self.draft
        for _ in range(num - 1):
            if not last or (last.future.done() and last.future.exception()):
                return
            if not last.future.done():
                last.may_draft.is_on = self.has_room
                return
            result = last.future.result()
            result.draft = last = result.draft or self._draft_token(result.last_argmax)

    def skip_step(self) -> None:
        """Tell the member that, as far as is known, the next step needs no read."""
        if self._is_waited_for:
            self._is_waited_for = False
            self._member.skip_step(self.sequence)

    def close(self) -> None:
        """Free the sequence. A pass under way is not waited for, but counts in `usage`."""
        self._may_draft.is_on = False
        self._reject_draft()
        while self.in_flight and not self.in_flight.cancel():
            if not self.in_flight.done():
                self._num_forwards += 1
                self._num_tokens_read += self._num_in_flight
                break
            if self.in_flight.exception():
                break
            result = self.in_flight.result()
            self._count(result)
            self.in_flight = result.draft.future if result.draft else None
        self.in_flight = None
        self._member.free(self.sequence)

    # --- ids

    def _path(self, boundary: Boundary) -> tuple[Boundary, list[Boundary], list[int]]:
        """The last boundary of the chain on the way to this one, the boundaries after it, and the ids after it."""
        new: list[Boundary] = []
        while boundary.parent and boundary not in self._chain[boundary.depth : boundary.depth + 1]:
            new.append(boundary)
            boundary = boundary.parent
        new.reverse()
        return boundary, new, [own for added in new for own in added.ids]

    def _after(self, boundary: Boundary) -> list[int]:
        """The sequence's ids after a boundary of the chain."""
        return self.sequence.ids[self.num_prompt_ids + boundary.num_ids :]

    # --- passes

    def _read_distributions(self, num_wanted: int) -> Future[ReadResult] | None:
        """Read until the distributions at the sequence's last places are known; None if they are."""
        unknown = self._unknown(num_wanted)
        if not unknown:
            return None
        num_logits = self.end - unknown[0] + 1
        if num_logits > self.sequence.num_uncomputed:  # already computed, but without its distribution
            self.sequence.rewrite(len(self.sequence.ids) - num_logits, self.sequence.ids[-num_logits:])
        self._may_draft = MayDraft(self._can_draft)
        self._num_asked = self.sequence.num_uncomputed  # counted now: the pass may be over when `read` returns
        return self._member.read(self.sequence, num_logits, self._may_draft)

    def _unknown(self, num_wanted: int) -> list[int]:
        """The last places held whose distributions are not known, as numbers of ids after the prompt."""
        return [
            num_ids for num_ids in range(self.end - num_wanted + 1, self.end + 1) if num_ids not in self.distributions
        ]

    def _count(self, result: ReadResult) -> None:
        self._is_waited_for = True
        self._num_forwards += result.num_read > 0  # not if another sequence's result was reused
        self._num_tokens_read += result.num_read
        self._seconds += result.seconds

    # --- the member's own drafts

    @property
    def _can_draft(self) -> bool:
        """Whether there is room after the current pass, and a step that needs the next one."""
        return self.num_greedy > 1 and self.num_held < self._member.context_length

    def _draft_token(self, token_id: int) -> Draft | None:
        """Begin a pass over a token that was not fed; None if there is nothing to read."""
        ids, may_draft = self._member.mapping.feed(token_id), MayDraft()
        if not ids or len(self.sequence.ids) + len(ids) > self._member.context_length:
            return None
        self.sequence.extend(list(ids))
        return Draft(ids, self._member.read(self.sequence, 1, may_draft), may_draft)

    def _accept(self, draft: Draft) -> None:
        """The draft is what the member had to read."""
        self.in_flight, self._num_in_flight, self._may_draft = draft.future, len(draft.ids), draft.may_draft
        self.num_held += len(draft.ids)
        self.draft = None
        if self._can_draft:
            self._may_draft.is_on = True

    def _reject_draft(self) -> None:
        """The draft, if there is one, is not what the member had to read."""
        if not self.draft or self.is_rejected:
            return
        self.draft.may_draft.is_on = False
        if self.draft.future.cancel():
            self._drop_draft()
        else:
            self.in_flight, self._num_in_flight, self.is_rejected = self.draft.future, len(self.draft.ids), True

    def _drop_draft(self) -> None:
        self.sequence.rewrite(self.num_held, [])
        self.draft, self.is_rejected = None, False
