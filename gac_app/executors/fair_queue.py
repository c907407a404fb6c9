"""Whose turn is next at a model: the levels of a share, such as an address and a browser, get equal time.

A *share* is a tuple of names, the outermost level first. What they stand for is not known here. Where several outermost
names are present, each gets equally many reads of a round, and after a long read it begins no other one for as long as
that took. Background reads wait while other sequences are in use, but for a tenth of the time, so that they finish.

Another policy is another class with the public methods of `FairQueue`, in its place in `BatchScheduler`.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from gac_app.decoding.distribution import ReadResult
from gac_app.models.sequence import BACKGROUND, ForwardRequest, KVSequence, Share

PRESENT_S = 2.0  # a sequence holds others back so long after its last read; then it seems to wait for something else
PREFILL_REST = 1.0  # how long an address's prefill rests after a chunk that took 1
BACKGROUND_REST = 9.0  # and background reads after a pass that took 1
LOOK_S = 0.1  # whether somebody waits for a background read now, or the others have gone silent: neither wakes a worker
LONG = 9  # ids: more than drafts have
CHUNK = 0.3, 64  # (target seconds, minimum tokens) of a prefill chunk
SHORT_CHUNK = 0.1, 16  # the same while others are there


@dataclass(slots=True, eq=False)
class ReadCommand:
    """A read in the queue, and the future that gets its result.

    Attributes:
        levels: its share and those around it, the outermost first, and its sequence.
        is_prefill: it has begun, and is computed alone, chunk by chunk.
        is_background: it yields to all other reads, unless somebody waits for it.
        asked_at: monotonic. It is taken into the queue later, once the pass under way is over.
        num_new: ids still to be computed; a guess until it has begun.
        num_read, seconds: of the chunks computed so far.
    """

    request: ForwardRequest
    future: Future[ReadResult]
    sequence: KVSequence = field(init=False)
    levels: list[Share] = field(init=False)
    is_background: bool = field(init=False)
    is_prefill: bool = False
    asked_at: float = field(default_factory=lambda: time.monotonic())
    num_new: int = field(init=False)
    num_read: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.sequence, self.num_new = self.request.sequence, self.request.num_uncomputed
        share = self.sequence.share
        self.levels = [share[:length] for length in range(1, len(share) + 1)] + [(*share, hex(id(self.sequence)))]
        self.is_background = self.address == BACKGROUND

    @property
    def address(self) -> Share:
        """The outermost level."""
        return self.levels[0]

    @property
    def is_long(self) -> bool:
        """Whether others would wait for it: for a chunk of a prompt, or for a text to be scored."""
        return self.num_read > 0 or self.num_new >= LONG


class FairQueue:
    """The sequences in use, and the time that each share has had since it came.

    A new name starts with the time of the one beside it that has had least, or else with that of the level above, so
    that it gains nothing.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._in_use: dict[int, tuple[list[Share], float]] = {}  # by sequence: its levels; when it last read or asked
        self._had_s: dict[Share, float] = {}  # of every level
        self._rests_until: dict[Share, float] = {}  # long reads of an address, and background reads
        self._id_s = 0.0  # how long an id of the last chunk took; 0 = not known

    # --- whose turn it is

    def in_order(self, reads: Iterable[ReadCommand]) -> list[ReadCommand]:
        """Awaited ones come first; then those whose share had least, level by level. Equals keep their order."""

        def key(read: ReadCommand) -> tuple[bool, list[float]]:
            return not read.sequence.is_awaited, [self._had_s.get(name, 0.0) for name in read.levels]

        return sorted(reads, key=key)

    def next_steps(self, reads: Iterable[ReadCommand]) -> list[ReadCommand]:
        """Those that may be in the next round, of reads that are in order and do not rest: as many of each outermost
        name as of the one with the fewest sequences; none that nobody waits for beside awaited ones.
        """
        counts = self._count_present()
        quota = min(counts.values()) if len(counts) > 1 else math.inf
        num_taken, taken = Counter[Share](), list[ReadCommand]()
        for read in reads:
            num, is_along = num_taken[read.address], not read.sequence.is_awaited
            is_too_many = num >= quota or (num and self._gives_way(read))
            if not is_too_many and not (is_along and taken and taken[0].sequence.is_awaited):
                num_taken[read.address] += 1
                taken.append(read)
        return taken

    def next_prefill(self, prefills: Iterable[ReadCommand], steps: Iterable[ReadCommand]) -> ReadCommand | None:
        """The prompt of which a chunk follows these steps; none that nobody waits for after awaited steps."""
        is_busy = any(step.sequence.is_awaited for step in steps)
        ready = (one for one in self.in_order(prefills) if not self.rest_s(one))
        return next((one for one in ready if one.sequence.is_awaited or not is_busy), None)

    def is_chunked(self, read: ReadCommand) -> bool:
        """Whether a read is kept out of the steps' passes, since others would wait for it."""
        return read.is_long and self._are_others(read)

    def next_chunk(self, read: ReadCommand, most: int) -> int:
        """How many ids of a prompt are computed next, `most` at the most; 0 = all that are left."""
        num_ids, num_unwanted = self._num_ids_within(*CHUNK, most), read.num_new - read.request.num_logits
        is_long = read.num_read > 0 or num_unwanted >= num_ids
        if read.is_background or (is_long and self._are_others(read)):
            num_ids = self._num_ids_within(*SHORT_CHUNK, most)
        return num_ids if num_unwanted >= num_ids else 0

    def rest_s(self, read: ReadCommand) -> float:
        """Seconds until a read may be computed, or until that is to be asked again; 0 = now."""
        if read.is_background and not read.sequence.is_awaited and self.present:
            return LOOK_S
        rest_s = self._rests_until.get(read.address, -math.inf) - self._clock()
        return rest_s if rest_s > 0 and self._gives_way(read) else 0.0

    def is_free_for(self, sequence: KVSequence) -> bool:
        """Whether no other sequence is in use. Safe to call from any thread."""
        return self._in_use.keys() <= {id(sequence)}

    def absent_s(self, read: ReadCommand) -> float:
        """Seconds between the last read of its sequence and this one's asking; 0 = it is the first."""
        return read.asked_at - self._in_use.get(id(read.sequence), ([], read.asked_at))[1]

    # --- what it depends on

    def add(self, read: ReadCommand) -> None:
        """A sequence is in use, and asks for a read or waits for it. Background reads hold nobody back."""
        if read.is_background:
            return
        self._in_use[id(read.sequence)] = read.levels, self._clock()
        for name in read.levels:
            if name not in self._had_s:
                rivals = (had for level, had in self._had_s.items() if level[:-1] == name[:-1])
                self._had_s[name] = min(rivals, default=self._had_s.get(name[:-1], 0.0))

    def leave(self, sequence: KVSequence) -> None:
        """A sequence is no longer in use."""
        if self._in_use.pop(id(sequence), None):
            left = {name for levels, _ in self._in_use.values() for name in levels}
            self._had_s = {name: had_s for name, had_s in self._had_s.items() if name in left}
            now = self._clock()
            self._rests_until = {name: until for name, until in self._rests_until.items() if until > now}

    def account(self, reads: list[ReadCommand], seconds: float, *, is_long: bool = False, chunk: int = 0) -> None:
        """These reads took this long together. Background and long reads rest then.

        Args:
            chunk: the ids of a prompt that were computed; 0 = not known.
        """
        now = self._clock()
        if chunk:
            self._id_s = seconds / chunk
        for read in reads:
            if id(read.sequence) in self._in_use:
                self._in_use[id(read.sequence)] = read.levels, now
            for name in read.levels:
                if name in self._had_s:
                    self._had_s[name] += seconds / len(reads)
            if rest := BACKGROUND_REST if read.is_background else PREFILL_REST * is_long:
                self._rests_until[read.address] = now + rest * seconds

    @property
    def present(self) -> set[Share]:
        """The outermost names of sequences in use that read at present."""
        return set(self._count_present())

    def _count_present(self) -> Counter[Share]:
        since = self._clock() - PRESENT_S
        return Counter(levels[0] for levels, seen_at in self._in_use.values() if seen_at >= since)

    def _are_others(self, read: ReadCommand) -> bool:
        """Whether another outermost name is present."""
        return not self.present <= {read.address}

    def _gives_way(self, read: ReadCommand) -> bool:
        """Whether this read waits while its share rests."""
        return bool(self.present) if read.is_background else read.is_long and self._are_others(read)

    def _num_ids_within(self, seconds: float, least: int, most: int) -> int:
        """As many ids as take so long, by the last chunk."""
        return min(max(int(seconds / (self._id_s or CHUNK[0] / most)), least), most)
