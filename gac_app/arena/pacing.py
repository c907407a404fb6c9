"""Shows both sides of a battle at one pace, the same in all battles of a host, so that speed does not tell who answers.

The pace is a little below that of the slowest contestant, also where it does not take part. So answers are mostly there
before they are shown: no side appears in the rhythm of its own tokens, and a finished answer continues at the same pace
after the other one has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

MIN_RATE = 30.0  # characters per second until all contestants are known; about twice the speed of reading
_MIN_SAMPLE = 40  # characters needed for a rate
_SLACK = 0.8  # share of the slowest contestant's rate, so that the pace seldom waits for it
_NEWEST = 0.3  # weight of the newest answer in a contestant's rate


@dataclass(frozen=True, slots=True)
class SideProgress:
    """A side's characters so far, and whether it has ended."""

    num_chars: int
    is_over: bool


class Tempo:
    """The tempo of a host's battles, from the answers so far of each contestant.

    Args:
        names: of all contestants.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._known: dict[str, tuple[float, float]] = {}  # characters per second, and seconds to the first
        self._lock = threading.Lock()

    def note(self, name: str, num_chars: int, seconds: float, start_s: float) -> None:
        """Note an answer, which took `seconds` after the `start_s` to its first token."""
        if num_chars < _MIN_SAMPLE or seconds <= 0:
            return
        with self._lock:
            new = (num_chars / seconds, start_s)
            old = self._known.get(name, new)
            self._known[name] = (_mean(old[0], new[0]), _mean(old[1], new[1]))

    @property
    def rate(self) -> float:
        """Characters per second."""
        with self._lock:
            if not self._names <= self._known.keys():
                return MIN_RATE
            return _SLACK * min((rate for rate, _ in self._known.values()), default=MIN_RATE)

    @property
    def start_s(self) -> float:
        """Seconds before anything is shown: those of the contestant that begins last."""
        with self._lock:
            return max((start_s for _, start_s in self._known.values()), default=0.0)


def _mean(old: float, new: float) -> float:
    return (1 - _NEWEST) * old + _NEWEST * new


class Pace:
    """The number of characters of each side that may be shown: 0 until both have begun, then growing evenly."""

    def __init__(self, tempo: Tempo, clock: Callable[[], float] = time.monotonic) -> None:
        self._tempo = tempo
        self._clock = clock
        self._asked_at: float | None = None
        self._begun_at: float | None = None  # when the first characters were shown
        self._counted_at = 0.0
        self._rate = 0.0
        self._num_shown = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since something was shown."""
        return 0.0 if self._begun_at is None else self._clock() - self._begun_at

    @classmethod
    def over(cls, tempo: Tempo, num_shown: int, seconds: float) -> Pace:
        """That of answers which are shown as far as they ever will be, and whose first characters were shown so long
        ago.
        """
        pace = cls(tempo)
        pace._begun_at = pace._clock() - seconds
        pace._num_shown = num_shown
        return pace

    def seconds_to(self, num_chars: int) -> float:
        """Seconds until so many characters of each side may be shown, if they are there."""
        start_s = self._tempo.start_s if self._begun_at is None else 0.0
        return start_s + max(0.0, num_chars - self._num_shown) / (self._rate or self._tempo.rate)

    @property
    def num_shown(self) -> int:
        """The characters of each side that may be shown, as of the last `advance`."""
        return int(self._num_shown)

    def advance(self, sides: Sequence[SideProgress]) -> int:
        """The characters of each side that may be shown now. First called when the sides begin to answer."""
        now = self._clock()
        if self._asked_at is None:
            self._asked_at = now
        if self._begun_at is None:
            is_early = now < self._asked_at + self._tempo.start_s
            if is_early or not all(side.num_chars or side.is_over for side in sides):
                return 0
            self._begun_at = self._counted_at = now
            self._rate = self._tempo.rate
        under_way = [side.num_chars for side in sides if not side.is_over]
        longest = max(side.num_chars for side in sides)
        wanted = self._num_shown + self._rate * (now - self._counted_at)
        self._counted_at = now
        self._num_shown = max(self._num_shown, min(wanted, *under_way, longest))
        return self.num_shown
