"""Who may use a model next: the levels of a share, such as an address and a browser, get equal time.

A *share* is a tuple of names, the outermost level first. What they stand for is not known here. Where several outermost
names are present, each gets equally many reads of a round, and after a long read it begins no other one for as long as
that took. Background reads wait while other sequences are in use, but for a tenth of the time, so that they finish.
"""

from __future__ import annotations

import math
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


@dataclass(slots=True, eq=False)
class ReadCommand:
    """A read in the queue, and the future that gets its result.

    Attributes:
        levels: its share and those around it, the outermost first, and its sequence.
        is_prefill: it has begun, and is computed alone, chunk by chunk.
        is_background: it yields to all other reads, unless somebody waits for it.
        num_new: ids still to be computed; a guess until it has begun.
        num_read, seconds: of the chunks computed so far.
    """

    request: ForwardRequest
    future: Future[ReadResult]
    sequence: KVSequence = field(init=False)
    levels: list[Share] = field(init=False)
    is_background: bool = field(init=False)
    is_prefill: bool = False
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

    def is_free_for(self, sequence: KVSequence) -> bool:
        """Whether no other sequence is in use. Safe to call from any thread."""
        return self._in_use.keys() <= {id(sequence)}

    @property
    def present(self) -> set[Share]:
        """The outermost names of sequences in use that read at present."""
        return set(self._count_present())

    def _count_present(self) -> Counter[Share]:
        since = self._clock() - PRESENT_S
        return Counter(levels[0] for levels, seen_at in self._in_use.values() if seen_at >= since)

    def absent_s(self, sequence: KVSequence) -> float:
        """Seconds since a sequence last read or asked; 0 = it never has."""
        now = self._clock()
        return now - self._in_use.get(id(sequence), ([], now))[1]

    def add(self, command: ReadCommand) -> None:
        """A sequence is in use, and asks for a read or waits for it. Background reads hold nobody back."""
        if command.is_background:
            return
        self._in_use[id(command.sequence)] = command.levels, self._clock()
        for name in command.levels:
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

    def account(self, commands: list[ReadCommand], seconds: float, *, is_long: bool = False) -> None:
        """These reads took this long together. Background and long reads rest then."""
        now = self._clock()
        for command in commands:
            if id(command.sequence) in self._in_use:
                self._in_use[id(command.sequence)] = command.levels, now
            for name in command.levels:
                if name in self._had_s:
                    self._had_s[name] += seconds / len(commands)
            if rest := BACKGROUND_REST if command.is_background else PREFILL_REST * is_long:
                self._rests_until[command.address] = now + rest * seconds

    def wake(self, command: ReadCommand) -> None:
        """Somebody waits for this read now."""
        command.is_background = False
        self._rests_until.pop(command.address, None)

    def in_order(self, commands: Iterable[ReadCommand]) -> list[ReadCommand]:
        """Awaited ones come first; then those whose share had least, level by level. Equals keep their order."""

        def key(command: ReadCommand) -> tuple[bool, list[float]]:
            return not command.sequence.is_awaited, [self._had_s.get(name, 0.0) for name in command.levels]

        return sorted(commands, key=key)

    def are_others(self, command: ReadCommand) -> bool:
        """Whether another outermost name is present."""
        return not self.present <= {command.address}

    def gives_way(self, command: ReadCommand) -> bool:
        """Whether this read waits while its share rests."""
        return bool(self.present) if command.is_background else command.is_long and self.are_others(command)

    def rest_s(self, command: ReadCommand) -> float:
        """Seconds until a read may be computed, or until that is to be asked again; 0 = now."""
        if command.is_background and not command.sequence.is_awaited and self.present:
            return LOOK_S
        rest_s = self._rests_until.get(command.address, -math.inf) - self._clock()
        return rest_s if rest_s > 0 and self.gives_way(command) else 0.0

    def new_round(self) -> Callable[[ReadCommand], bool]:
        """What tells of one read after the other whether it may be in the next round: as many of each outermost name as
        of the one with the fewest sequences.
        """
        counts = self._count_present()
        quota = min(counts.values()) if len(counts) > 1 else math.inf
        num_taken = Counter[Share]()
        is_awaited = False

        def has_turn(command: ReadCommand) -> bool:
            nonlocal is_awaited
            if is_awaited and not command.sequence.is_awaited:
                return False
            num = num_taken[command.address]
            if num >= quota or (num and self.gives_way(command)) or self.rest_s(command):
                return False
            num_taken[command.address] += 1
            is_awaited |= command.sequence.is_awaited
            return True

        return has_turn
