"""What the sequence of a member's context was asked to read, and the distributions that it gave."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from queue import SimpleQueue

from gac_app.decoding.alignment import Boundary, Covers
from gac_app.decoding.distribution import ReadResult, TokenDistribution
from gac_app.decoding.member import Member
from gac_app.decoding.trace import MemberUsage
from gac_app.errors import GacError
from gac_app.models.sequence import ForwardRequest, KVSequence

IdsN = tuple[int, ...]  # the member's own, after the prompt
_MAX_KNOWN = 32  # distributions; each may take a megabyte

SampleFn = Callable[[TokenDistribution], int | None]


@dataclass(slots=True, eq=False)
class _Read:
    """A read that has begun: of `ids`, with the distributions after the last `num_logits` of them.

    Attributes:
        num_new: ids that were not computed when it began.
        result: once its distributions are known.
        is_in_step: its cost is in `SequenceReads.num_read` and `seconds`.
    """

    ids: IdsN
    num_logits: int
    num_new: int
    future: Future[ReadResult]
    result: ReadResult | None = None
    is_in_step: bool = False

    def gives(self, ids: IdsN) -> bool:
        """Whether the distribution after `ids` is among its results."""
        return len(self.ids) - self.num_logits < len(ids) <= len(self.ids) and self.ids[: len(ids)] == ids


class SequenceReads:
    """Reads of one sequence, each a value: `ids`, and how many distributions at their end. For the session's thread.

    A distribution that is known, or is being computed, is not read again. When another read is needed, those that have
    not begun to be computed are cancelled; what the others give is kept while it may still be needed. The member may
    *draft*: `draft_ahead` lets it read its own likely tokens, each as soon as the session sees the distribution before.

    Attributes:
        num_read, seconds: ids and time of the passes whose distributions the current step was the first to use.
        new_sample: called as a draft begins, for what chooses its tokens one after the other; None = argmaxes.
        ended: told of each read that is over, in the member's thread; one for all members of a session, which waits.
    """

    new_sample: Callable[[], SampleFn] | None = None

    def __init__(self, member: Member, sequence: KVSequence) -> None:
        self.member, self.sequence = member, sequence
        self.max_ids = member.model.context_length - len(sequence.prompt)
        self.usage = MemberUsage()
        self.num_read, self.seconds = 0, 0.0
        self._known: dict[IdsN, tuple[TokenDistribution, _Read]] = {}
        self._under_way: list[_Read] = []  # oldest first
        self._asked: _Read | None = None
        self._draft: list[tuple[int, IdsN]] = []  # tokens drafted after `_draft_from`, and the ids up to each
        self._draft_from: IdsN | None = None
        self._num_draft = 0  # tokens to draft
        self._is_draft_over = False  # nothing can follow
        self._sample: SampleFn | None = None  # None = the argmax
        self.ended: SimpleQueue[None] = SimpleQueue()
        self._is_closed = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, and nothing is drafted."""
        self._note_all()
        return not self._under_way and not self._draft

    # --- reads

    @property
    def is_asked(self) -> bool:
        """Whether a read of this step was asked for, and is still to be collected."""
        return self._asked is not None

    @property
    def awaited(self) -> Future[ReadResult] | None:
        """That read, unless it is known to be over."""
        return self._asked.future if self._asked and not self._asked.result else None

    def ensure_computed(self, ids: IdsN, num_wanted: int = 1) -> Future[ReadResult] | None:
        """Begin to read what is not known of the distributions after the last `num_wanted` of `ids`. Returns the read
        to `collect` once it is over; None if all are known by now.
        """
        self._note_all()
        first = len(ids) - num_wanted + 1
        while first <= len(ids) and ids[:first] in self._known:
            first += 1
        self._asked = self._giving(ids[:first]) if first <= len(ids) else None
        if first <= len(ids) and not self._asked:
            self.cancel()
            self._asked = self._begin(ids, len(ids) - first + 1)
            self._note(self._asked)
        return self.awaited

    def collect(self) -> None:
        """Take the read that was asked for, which is over. Raises MemberError if it has failed."""
        asked, self._asked = self._asked, None
        if asked and not asked.result:
            self._note(asked)
            asked.future.result()

    def cancel(self) -> None:
        """Keep only the reads that are being computed. One that has failed is made anew."""
        self._stop_drafting()
        self._asked = None
        for read in [*self._under_way]:
            if read.future.cancel() or (read.future.done() and read.future.exception()):
                self._under_way.remove(read)

    def fill_in(self, covers: Covers) -> list[Boundary]:
        """Give covers the distributions that they need, if all of them are known. Returns the boundaries that are still
        unread.
        """
        if not (unread := covers.unread):
            return []
        self._note_all()
        found = [known for boundary in unread if (known := self._known.get(boundary.path))]
        if len(found) < len(unread):
            return unread
        for _, read in found:
            if read.result and not read.is_in_step:
                read.is_in_step = True
                self.num_read, self.seconds = self.num_read + read.result.num_read, self.seconds + read.result.seconds
        covers.learn([distribution for distribution, _ in found])
        return []

    def end_step(self, first: int) -> None:
        """A step is over. From now on no distribution before the `first` ids is needed."""
        self._asked, self.num_read, self.seconds = None, 0, 0.0
        for ids in [ids for ids in self._known if len(ids) < first]:  # a new dict would hash all the others
            del self._known[ids]

    def close(self) -> None:
        """Free the sequence. A read under way is not waited for, but counts in `usage`. May be called again."""
        if self._is_closed:
            return
        self._is_closed = True
        self._stop_drafting()
        for read in [*self._under_way]:
            if not read.future.cancel() and not self._note(read):
                self._count(max(read.num_new, read.num_logits), 0.0)
        self.member.free(self.sequence)

    def _giving(self, ids: IdsN) -> _Read | None:
        """The read under way that gives the distribution after these ids."""
        return next((read for read in self._under_way if read.gives(ids)), None)

    def _begin(self, ids: IdsN, num_logits: int) -> _Read:
        request = ForwardRequest(self.sequence, self.sequence.prompt + ids, num_logits)
        read = _Read(ids, num_logits, len(request.ids) - len(self.sequence.ids), self.member.read(request))
        self._under_way.append(read)
        read.future.add_done_callback(lambda _: self.ended.put(None))
        return read

    def _note_all(self) -> None:
        for read in [*self._under_way]:
            self._note(read)

    def _note(self, read: _Read) -> bool:
        """Keep what a read gave, and go on drafting. One that failed stays under way, so that who asks for it finds
        that. Returns whether it is over.
        """
        if not read.future.done():
            return False
        try:
            result = read.result = read.future.result()
        except (CancelledError, GacError):
            return True
        self._under_way.remove(read)
        self._count(result.num_read, result.seconds)
        start = len(read.ids) - read.num_logits + 1
        for end, distribution in enumerate(result.distributions, start):
            distribution.member = self.member.name
            ids = read.ids[:end]
            self._known[ids] = self._known.pop(ids, (distribution, read))  # the last added is evicted last
        while len(self._known) > max(_MAX_KNOWN, read.num_logits):
            del self._known[next(iter(self._known))]
        self._go_on_drafting()
        return True

    def _count(self, num_read: int, seconds: float) -> None:
        usage = self.usage
        self.usage = MemberUsage(usage.num_forwards + 1, usage.num_tokens_read + num_read, usage.seconds + seconds)

    # --- the member's own drafts

    def draft_ahead(self, ids: IdsN, num: int) -> None:
        """Read up to `num` of the member's likely tokens after `ids`, which it has read or is reading."""
        self._note_all()
        if ids != self._draft_from:
            places = [end for _, end in self._draft]
            if ids in places:
                del self._draft[: places.index(ids) + 1]
            else:
                self._stop_drafting()
                self._sample = self.new_sample() if self.new_sample else None
            self._draft_from = ids
        self._num_draft = num
        self._go_on_drafting()

    def drafted_after(self, ids: IdsN) -> int | None:
        """The likely token after `ids` that the member has drafted; None = not known."""
        self._note_all()
        place = next((i for i, (_, end) in enumerate(self._draft, 1) if end == ids), 0)
        return self._draft[place][0] if (place or ids == self._draft_from) and place < len(self._draft) else None

    def _stop_drafting(self) -> None:
        self._draft.clear()
        self._draft_from, self._num_draft, self._is_draft_over = None, 0, False

    def _go_on_drafting(self) -> None:
        while self._draft_from is not None and len(self._draft) < self._num_draft and not self._is_draft_over:
            ids = self._draft[-1][1] if self._draft else self._draft_from
            known = self._known.get(ids)
            if not known:
                return
            token_id = self._sampled(known[0])
            own = () if token_id is None else self.member.mapping.feed(token_id)  # () of END
            self._is_draft_over = not own or len(ids) + len(own) > self.max_ids
            if token_id is not None and not self._is_draft_over:
                ids += own
                self._draft.append((token_id, ids))
                if ids not in self._known and not self._giving(ids):
                    self._begin(ids, 1)

    def _sampled(self, distribution: TokenDistribution) -> int | None:
        try:
            return self._sample(distribution) if self._sample else distribution.argmax_id
        except GacError:  # the step that comes there reports it
            return None
