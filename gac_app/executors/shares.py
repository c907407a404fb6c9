"""Who may use a model next: the levels of a share, such as an address and a browser, get equal time.

A *share* is a tuple of names, the outermost level first. What they stand for is not known here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

from gac_app.executors.read_command import ReadCommand
from gac_app.models.base import Sequence, Share

PRESENT_S = 2.0  # a sequence holds others back so long after its last read; then it seems to wait for something else


class Shares:
    """The sequences in use, and the time that each share has had since it came.

    Who comes starts level with the one beside it that had least, so that a new name gains nothing.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._in_use: dict[int, Share] = {}  # by identity of the sequence
        self._seen_at: dict[int, float] = {}  # likewise: when it last read or asked
        self._had_s: dict[Share, float] = {}  # of every level

    def is_free_for(self, sequence: Sequence) -> bool:
        """Whether no other sequence is in use. Safe to call from any thread."""
        return self._in_use.keys() <= {id(sequence)}

    @property
    def present(self) -> list[Share]:
        """Of each sequence in use that reads at present."""
        since = self._clock() - PRESENT_S
        return [self._in_use[key] for key, seen_at in self._seen_at.items() if seen_at >= since]

    def come(self, sequence: Sequence) -> None:
        """A sequence is in use and asks for a read."""
        self._seen_at[id(sequence)] = self._clock()
        if id(sequence) in self._in_use:
            return
        for name in _levels(sequence.share):
            rivals = {level for level in self._had_s if len(level) == len(name) and level[:-1] == name[:-1]}
            self._had_s.setdefault(name, min((self._had_s[rival] for rival in rivals), default=0.0))
        self._in_use[id(sequence)] = sequence.share

    def leave(self, sequence: Sequence) -> None:
        """A sequence is no longer in use."""
        self._seen_at.pop(id(sequence), None)
        if self._in_use.pop(id(sequence), None) is not None:
            left = {name for share in self._in_use.values() for name in _levels(share)}
            self._had_s = {name: had_s for name, had_s in self._had_s.items() if name in left}

    def charge(self, commands: list[ReadCommand], seconds: float) -> None:
        """These reads took this long together."""
        for command in commands:
            if id(command.sequence) in self._seen_at:
                self._seen_at[id(command.sequence)] = self._clock()
            for name in _levels(command.sequence.share):
                if name in self._had_s:
                    self._had_s[name] += seconds / len(commands)

    def in_order(self, commands: Iterable[ReadCommand]) -> list[ReadCommand]:
        """Those whose share had least come first, level by level; equals keep their order."""
        return sorted(
            commands, key=lambda command: [self._had_s.get(name, 0.0) for name in _levels(command.sequence.share)]
        )

    def are_others(self, share: Share) -> bool:
        """Whether another outermost name is present."""
        return any(other[:1] != share[:1] for other in self.present)

    @property
    def quota(self) -> float:
        """How many reads each outermost name may have in a round: as many as the one with the fewest sequences."""
        counts = Counter(share[:1] for share in self.present)
        return min(counts.values()) if len(counts) > 1 else math.inf


def _levels(share: Share) -> list[Share]:
    return [share[:length] for length in range(1, len(share) + 1)]
