"""The sequence of a member's context: what it has computed, what it holds, what it drafts, and the reads under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from gac_app.decoding.alignment import Boundary, Covers
from gac_app.decoding.distribution import Choose, MayDraft, PendingRead, ReadResult, Stage, TokenDistribution
from gac_app.decoding.member import Member
from gac_app.decoding.trace import MemberUsage
from gac_app.models.base import Sequence, num_common


class HeldSequence:
    """A sequence that follows a chain of boundaries after its prompt. Its ids, by three numbers:

        |<-- computed -->|                        in the member's KV cache
        |<-- held ---------------->|<-- draft -->|
        prompt, then ids up to the   the member's own likely tokens,
        last boundary of the chain   which nobody has asked for so far

    The chain has the boundaries at which the member's tokens ended, each with the ids since the one before. Spellings
    differ after the last boundary that they share, so that what was computed before it is kept. For example, after a
    prompt of 5 ids the chain 0 -(7)-> 1 -(8, 9)-> 3 holds 5 + 3 ids; boundaries are named by their number of ids. To
    reach 0 -(7)-> 1 -(6)-> 2 instead, `_path` goes back to 1, and only the id 6 is written and read.

    Every read that has begun and is not taken is in one queue, oldest first. *Speculative* reads begin before they are
    asked for: prefetches, and drafts. Only the first read may be due or rejected; those after it are drafts:

        (no read) --ask, prefetch--> DUE --take--> (no read), or the draft that the member made meanwhile
        (no read) --draft----------> DRAFT --its ids have to be read-------> DUE
                                     DRAFT --others have to, not begun yet-> (no read)
                                     DRAFT --others have to, under way-----> REJECTED --take--> (no read)

    A sequence is not rewritten while one of its reads is under way. The member's thread appends a draft's ids when a
    read ends (`forward.draft_after`), maybe while this class looks at the sequence. Therefore only the first `num_held`
    ids are compared until that read is taken.

    Args:
        sequence: holds the prompt, with at least its last id uncomputed.
        start: the end of the prompt.

    Attributes:
        sequence: read only; this class alone changes its ids.
        num_greedy: how many tokens may follow, each of them the member's argmax; 0 = any token may be chosen. If
            greedy, the member drafts one token after each read.
        distributions: number of ids after the prompt -> the distribution there.
        new_choice: called as a draft begins, for what chooses its tokens one after the other; None = argmaxes.
    """

    new_choice: Callable[[], Choose] | None = None

    def __init__(self, member: Member, sequence: Sequence, start: Boundary, num_greedy: int) -> None:
        self.num_greedy = num_greedy
        self.num_prompt_ids = self.num_held = len(sequence.ids)
        self.distributions: dict[int, TokenDistribution] = {}
        self._member = member
        self.sequence = sequence
        self._chain = [start]  # boundaries whose ids are held
        self._reads: deque[PendingRead] = deque()
        self._is_waited_for = False  # batches wait for this sequence
        self._is_closed = False
        self.usage = MemberUsage()

    @property
    def num_computed(self) -> int:
        return self.sequence.num_computed

    @property
    def num_draft(self) -> int:
        return len(self.sequence.ids) - self.num_held

    @property
    def end(self) -> int:
        """Ids held after the prompt."""
        return self.num_held - self.num_prompt_ids

    @property
    def last(self) -> Boundary:
        """The last boundary whose ids are held."""
        return self._chain[-1]

    @property
    def stage(self) -> Stage | None:
        """Of the first read; None = there is no read."""
        return self._reads[0].stage if self._reads else None

    @property
    def in_flight(self) -> Future[ReadResult] | None:
        """The read that has to be taken before anything else is read; None = none. One that failed stays."""
        return None if self.stage in (None, Stage.DRAFT) else self._reads[0].future

    # --- reads

    def reach(
        self, boundary: Boundary, draft_ids: tuple[int, ...] = (), num_wanted: int = 1
    ) -> Future[ReadResult] | None:
        """Begin to read up to `boundary` and `draft_ids`, until the last `num_wanted` distributions are known. Returns
        the read to take first; None if they are known.
        """
        if self.stage is Stage.DRAFT:
            base, new, ids = self._path(boundary)
            held, num_held = self._after(base), self.end - base.num_ids
            ids += draft_ids
            if held[:num_held] == ids and not self._unknown(num_wanted):
                return None
            if held[: num_held + self._reads[0].num_ids] == ids:
                self._accept(self._reads[0])
                self._chain[base.depth + 1 :] = new
            else:
                self._reject()
        if not self.in_flight:
            self.write(boundary, draft_ids)
            self._begin(num_wanted)
        return self.in_flight

    def take(self, first: int) -> ReadResult | None:
        """Take the first read, which is over, and keep its distributions; None if it read a rejected draft.

        Args:
            first: the first place, in ids after the prompt, whose distribution may still be needed.

        Raises:
            MemberError: the read has failed; it stays.
        """
        result = self._reads[0].future.result()
        read = self._reads.popleft()
        self._note(result)
        if read.stage is Stage.REJECTED:
            self._reject()
            return None
        for distribution in result.distributions:
            distribution.member = self._member.name
        start = self.end - len(result.distributions) + 1
        self.distributions |= {start + index: distribution for index, distribution in enumerate(result.distributions)}
        first = min(first, self.end - 1)
        self.distributions = {num_ids: known for num_ids, known in self.distributions.items() if num_ids >= first}
        return result

    def skip_step(self) -> None:
        """Tell the member that, as far as is known, the next step needs no read."""
        if self._is_waited_for:
            self._is_waited_for = False
            self._member.skip_step(self.sequence)

    def close(self) -> None:
        """Free the sequence. A read under way is not waited for, but counts in `usage`. May be called again."""
        if self._is_closed:  # its slot may be another sequence's by now
            return
        self._is_closed = True
        for read in self._reads:
            read.may_draft.is_on = False
        while self._reads and not self._reads[0].future.cancel():
            read = self._reads.popleft()
            if not read.future.done():
                self._add_usage(1, read.num_ids, 0.0)
            elif not read.future.exception():
                self._note(read.future.result())
        self._reads.clear()
        self._member.free(self.sequence)

    def _begin(self, num_wanted: int) -> None:
        """Read until the distributions at the last places held are known."""
        unknown = self._unknown(num_wanted)
        if not unknown:
            return
        num_logits = self.end - unknown[0] + 1
        if num_logits > self.sequence.num_uncomputed:  # already computed, but without its distribution
            self.sequence.rewrite(len(self.sequence.ids) - num_logits, self.sequence.ids[-num_logits:])
        num_ids = self.sequence.num_uncomputed  # counted now: the read may be over when `read` returns
        may_draft = MayDraft(self._can_draft)
        future = self._member.read(self.sequence, num_logits, may_draft)
        self._reads.append(PendingRead(num_ids, future, may_draft, Stage.DUE))

    def _unknown(self, num_wanted: int) -> list[int]:
        """The last places held whose distributions are not known, as numbers of ids after the prompt."""
        return [
            num_ids for num_ids in range(self.end - num_wanted + 1, self.end + 1) if num_ids not in self.distributions
        ]

    def _note(self, result: ReadResult) -> None:
        """A read is over and no longer in the queue: count it, and queue the draft that the member made after it."""
        if result.draft and not self._reads:
            self._reads.append(result.draft)
        self._is_waited_for = True
        self._add_usage(1, result.num_read, result.seconds)

    def _add_usage(self, num_forwards: int, num_tokens_read: int, seconds: float) -> None:
        before = self.usage
        self.usage = MemberUsage(
            before.num_forwards + num_forwards, before.num_tokens_read + num_tokens_read, before.seconds + seconds
        )

    # --- distributions

    def distribution_at(self, boundary: Boundary) -> TokenDistribution | None:
        """The distribution at a boundary, if it was read there."""
        base, _, ids = self._path(boundary)
        return self.distributions.get(boundary.num_ids) if self._after(base)[: len(ids)] == ids else None

    def fill_in(self, covers: Covers) -> bool:
        """Give covers the distributions that they need, if all of them have been read. Returns whether they were."""
        unread = covers.unread
        known = [found for boundary in unread if (found := self.distribution_at(boundary))]
        if len(known) < len(unread):
            return False
        if known:
            covers.learn(known)
        return True

    # --- ids

    def write(self, boundary: Boundary, draft_ids: tuple[int, ...] = ()) -> None:
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

    def forget_failed(self, boundary: Boundary) -> None:
        """A read has failed: hold only the ids up to `boundary`, so that it can be tried again."""
        self._reads.clear()
        self.write(boundary)

    def holds(self, boundary: Boundary, ids: tuple[int, ...]) -> bool:
        """Whether the sequence holds just the ids up to `boundary`, then `ids`."""
        base, _, held = self._path(boundary)
        return self._after(base)[: self.end - base.num_ids] == [*held, *ids]

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

    # --- the member's own drafts

    def draft(self, num: int) -> None:
        """Let the member draft up to `num` of its likely tokens, each after a finished read."""
        if num and not self._reads and (known := self.distributions.get(self.end)):
            choose = self.new_choice() if self.new_choice else None
            self._draft_token(choose(known) if choose else known.argmax_id, choose, num)
        while self.stage is Stage.DRAFT and len(self._reads) < num:
            last = self._reads[-1]
            if not last.future.done():
                last.may_draft.is_on = len(self.sequence.ids) < self._member.model.context_length
                if not last.may_draft.is_over:
                    return
            if last.future.exception():  # of a read that is over, or as good as over
                return
            result = last.future.result()
            if result.draft:
                self._reads.append(result.draft)
            elif not self._draft_token(result.draft_id, last.may_draft.choose, num):
                return

    @property
    def _can_draft(self) -> bool:
        """Whether there is room after the current read, and a step that needs the next one."""
        return self.num_greedy > 1 and self.num_held < self._member.model.context_length

    def _draft_token(self, token_id: int | None, choose: Choose | None, num: int) -> bool:
        """Begin to read a token that was not fed. Returns whether there was one to read.

        Args:
            num: tokens to draft. That more may follow is said before the read begins: it may be over at once.
        """
        ids = () if token_id is None else self._member.mapping.feed(token_id)
        num_left = self._member.model.context_length - len(self.sequence.ids) - len(ids)
        if not ids or num_left < 0:
            return False
        may_draft = MayDraft(num_left > 0 and len(self._reads) + 1 < num, choose)
        self.sequence.extend(list(ids))
        self._reads.append(PendingRead(len(ids), self._member.read(self.sequence, 1, may_draft), may_draft))
        return True

    def _accept(self, draft: PendingRead) -> None:
        """The draft is what the member had to read."""
        draft.stage = Stage.DUE
        self.num_held += draft.num_ids
        if self._can_draft:
            draft.may_draft.is_on = True

    def _reject(self) -> None:
        """The draft, if there is one, is not what the member had to read."""
        for read in self._reads:
            read.may_draft.is_on = False
        if self._reads and not self._reads[0].future.cancel():
            self._reads[0].stage = Stage.REJECTED
            return
        self._reads.clear()
        self.sequence.rewrite(self.num_held, [])
