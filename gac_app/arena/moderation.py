"""Flags suspicious votes on a public host. They are stored with their flags, and ratings can leave them out."""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Literal

Flag = Literal["fast", "duplicate", "burst"]

BURST_VOTES, BURST_S = 10, 60.0  # so many votes of one visitor within so many seconds
_MAX_VISITORS = 10_000


class Moderator:
    """Remembers visitors' recent battles and votes, by hashes that no other process can compute.

    Args:
        max_per_hour: battles that one visitor may start.
        min_seconds: an earlier vote is flagged as fast.
    """

    def __init__(self, max_per_hour: int, min_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_per_hour, self._min_seconds = max_per_hour, min_seconds
        self._clock = clock
        self._salt = os.urandom(16)
        self._visitors: OrderedDict[str, _Visitor] = OrderedDict()

    def may_start(self, owner: str) -> bool:
        """Whether a visitor may start one more battle."""
        started = self._of(owner).started
        _drop_before(started, self._clock() - 3600.0)
        return len(started) < self._max_per_hour

    def started(self, owner: str) -> None:
        """Count a visitor's battle."""
        self._of(owner).started.append(self._clock())

    def flags(self, owner: str, judged: str, seconds: float) -> list[Flag]:
        """The flags of a new vote.

        Args:
            judged: prompt and contestants; repeated by the same visitor they are a duplicate.
            seconds: from the start of the answers to the vote.
        """
        visitor = self._of(owner)
        _drop_before(visitor.voted, self._clock() - BURST_S)
        visitor.voted.append(self._clock())
        digest = self._digest(judged)
        found: list[Flag] = []
        if seconds < self._min_seconds:
            found.append("fast")
        if digest in visitor.judged:
            found.append("duplicate")
        if len(visitor.voted) > BURST_VOTES:
            found.append("burst")
        visitor.judged.add(digest)
        return found

    def undone(self, owner: str, judged: str) -> None:
        """A vote was taken back or not stored, so repeating it is no duplicate."""
        if visitor := self._visitors.get(owner):  # None if dropped meanwhile
            visitor.judged.discard(self._digest(judged))

    def forget(self, owner: str) -> None:
        self._visitors.pop(owner, None)

    def _digest(self, judged: str) -> bytes:
        return hashlib.blake2b(judged.encode("utf-8", "replace"), key=self._salt, digest_size=16).digest()

    def _of(self, owner: str) -> _Visitor:
        visitor = self._visitors.setdefault(owner, _Visitor())
        self._visitors.move_to_end(owner)
        while len(self._visitors) > _MAX_VISITORS:
            self._visitors.popitem(last=False)
        return visitor


class _Visitor:
    def __init__(self) -> None:
        self.started: deque[float] = deque()
        self.voted: deque[float] = deque()
        self.judged: set[bytes] = set()


def _drop_before(times: deque[float], oldest: float) -> None:
    while times and times[0] <= oldest:
        times.popleft()
