"""Shows both sides of a battle at one pace, so that speed does not reveal a contestant.

The pace is the slower side's, smoothed. So no side appears in the rhythm of its own tokens, and a finished answer
continues at the same pace after the other one has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MIN_RATE = 30.0  # characters per second, about twice the speed of reading
_MIN_SAMPLE = 40  # characters needed for a rate
_SMOOTH = 0.95  # share of the slower side's rate, so that the pace seldom waits for it


@dataclass(frozen=True, slots=True)
class Progress:
    """A side's characters so far, and whether it has ended."""

    num_chars: int
    is_over: bool


class Pace:
    """The number of characters of each side that may be shown: 0 until both have begun, then growing."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun_at: float | None = None  # when both had begun
        self._counted_at = 0.0
        self._rate = 0.0
        self._num_shown = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since something was shown."""
        return 0.0 if self._begun_at is None else self._clock() - self._begun_at

    @property
    def num_shown(self) -> int:
        """The characters of each side that may be shown, as of the last `advance`."""
        return int(self._num_shown)

    def advance(self, sides: Sequence[Progress]) -> int:
        """The characters of each side that may be shown now."""
        now = self._clock()
        if self._begun_at is None:
            if not all(side.num_chars or side.is_over for side in sides):
                return 0
            self._begun_at = self._counted_at = now
        under_way = [side.num_chars for side in sides if not side.is_over]
        if under_way and now > self._begun_at and min(under_way) >= _MIN_SAMPLE:
            self._rate = _SMOOTH * min(under_way) / (now - self._begun_at)
        longest = max(side.num_chars for side in sides)
        wanted = self._num_shown + max(self._rate, MIN_RATE) * (now - self._counted_at)
        self._counted_at = now
        self._num_shown = max(self._num_shown, min(wanted, *under_way, longest))
        return self.num_shown
