"""How far a study is, and how long it may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """A run's progress. `num_kept` of the `num_done` are from earlier runs. `unit`: what is counted."""

    num_done: int
    num_total: int
    num_kept: int
    seconds: float
    num_failed: int = 0
    unit: str = "answers"

    @property
    def seconds_left(self) -> float | None:
        """Estimated; None until it can be."""
        num_new = self.num_done - self.num_kept
        return self.seconds / num_new * (self.num_total - self.num_done) if num_new else None


class Spending:
    """Seconds that run from now on.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock, self._began = clock, clock()

    @property
    def spent(self) -> float:
        return self._clock() - self._began

    def is_over(self, share: float) -> bool:
        """Whether this share of the seconds is spent."""
        return self.spent >= share * self.seconds

    def over(self, things: Iterable[T], share: float, *, least: int = 0) -> Iterator[T]:
        """Those of `things` that should be done before this share of the seconds is spent, if each takes at most as
        long as the slowest before it. But at least the first `least`.
        """
        longest = 0.0
        for number, thing in enumerate(things):
            began = self.spent
            if number >= least and began + longest >= share * self.seconds:
                return
            yield thing
            longest = max(longest, self.spent - began)
