"""Shows both sides of a battle at one pace, the same in all battles of a host, so that speed does not tell who answers.

The pace is below that of the slowest of the newest answers of all contestants, also where the slowest does not take
part, and begins a moment after the latest of their beginnings. So answers are there before they are shown: no side
appears in the rhythm of its own tokens. Where one is not there in time after all, both pause, always equally long.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

MIN_RATE = 30.0  # characters per second until all contestants are known; about twice the speed of reading
LEAD_S = 1.0  # how far an answer is ahead of what is shown when it begins or goes on
PAUSE_S = 2.0
_PATIENCE = 8.0, 10.0  # characters per second and seconds to the first: nobody waits longer for the slowest
_MIN_SAMPLE = 40  # characters needed for a rate
_SLACK = 0.8  # share of the slowest rate, so that the pace seldom waits for an answer
_NUM_NEWEST = 10  # answers of a contestant that count
_SHORT = 500  # characters of a prompt; a longer one takes longer to read


@dataclass(frozen=True, slots=True)
class SideProgress:
    """A side's characters so far, and whether it has ended."""

    num_chars: int
    is_over: bool


class Tempo:
    """The tempo of a host's battles, from the newest answers of each contestant.

    Args:
        names: of all contestants.
    """

    def __init__(self, names: Collection[str]) -> None:
        # Characters per second, and seconds to the first for each character of the prompt.
        self._newest: dict[str, tuple[tuple[float, float], ...]] = dict.fromkeys(names, ())

    def note(self, name: str, num_chars: int, seconds: float, start_s: float, num_asked: int) -> None:
        """Note an answer, which took `seconds` after the `start_s` to its first token.

        Args:
            num_asked: characters of the prompt.
        """
        if num_chars >= _MIN_SAMPLE and seconds > 0:
            new = num_chars / seconds, start_s / (_SHORT + num_asked)
            self._newest[name] = (*self._newest.get(name, ())[1 - _NUM_NEWEST :], new)

    @property
    def rate(self) -> float:
        """Characters per second."""
        of_each = tuple(self._newest.values())  # others may note meanwhile
        rates = [_SLACK * rate for newest in of_each for rate, _ in newest]
        return max(_PATIENCE[0], min(rates if rates and all(of_each) else [*rates, MIN_RATE]))

    def start_s(self, num_asked: int) -> float:
        """Seconds before anything is shown of the answers to a prompt of so many characters."""
        shares = [share for newest in tuple(self._newest.values()) for _, share in newest]
        return LEAD_S + min(_PATIENCE[1], max(shares, default=0.0) * (_SHORT + num_asked))


class Pace:
    """The number of characters of each side that may be shown: 0 until both have begun, then growing evenly.

    Args:
        num_asked: characters of the prompt.
    """

    def __init__(self, tempo: Tempo, num_asked: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._tempo, self._num_asked = tempo, num_asked
        self._clock = clock
        self._begun_at: float | None = None
        self._counted_at: float | None = None  # `num_shown` is as of then, which may be the end of a pause
        self._is_paused = True
        self._rate = 0.0
        self._num_shown = 0.0

    @property
    def has_begun(self) -> bool:
        """Whether anything may be shown, the end of an empty answer included."""
        return self._begun_at is not None

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
        pace._counted_at = pace._clock()
        pace._begun_at = pace._counted_at - seconds
        pace._num_shown = num_shown
        return pace

    def seconds_to(self, num_chars: int) -> float:
        """Seconds until so many characters of each side may be shown, if they are there."""
        now = self._clock()
        begins_s = self._tempo.start_s(self._num_asked) if self._counted_at is None else self._counted_at - now
        missing = max(0.0, num_chars - self._num_shown)
        return max(0.0, begins_s + missing / (self._rate or self._tempo.rate))

    @property
    def num_shown(self) -> int:
        """The characters of each side that may be shown, as of the last `advance`."""
        return int(self._num_shown)

    def advance(self, sides: Sequence[SideProgress]) -> int:
        """The characters of each side that may be shown now. First called when the sides begin to answer."""
        now = self._clock()
        if self._counted_at is None:  # from now on what other battles teach changes nothing
            self._rate = self._tempo.rate
            self._counted_at = now + self._tempo.start_s(self._num_asked)
        num_there = min((side.num_chars for side in sides if not side.is_over), default=math.inf)
        if now < self._counted_at:
            return self.num_shown
        if self._is_paused and num_there < self._num_shown + max(1.0, LEAD_S * self._rate):
            self._counted_at = max(now, self._counted_at + PAUSE_S)
            return self.num_shown
        if self._begun_at is None:
            self._begun_at = now
        wanted = self._num_shown + self._rate * (now - self._counted_at)
        self._is_paused = wanted > num_there
        self._counted_at = now + PAUSE_S * self._is_paused
        longest = max(side.num_chars for side in sides)
        self._num_shown = max(self._num_shown, min(wanted, num_there, longest))
        return self.num_shown
