"""Flags votes that no attentive person casts. They are stored with their flags, and ratings can leave them out.

Nothing is refused here. What many votes are worth together is said by their weights (`rating/weights.py`).
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from gac_app.recent import Recent
from gac_app.validation import normalised

Flag = Literal["fast", "duplicate", "burst"]

BURST_S = 60.0
BURST_VOTES = 10  # of one visitor within that time
ADDRESS_BURST_VOTES = 60  # of one address; a class of 30 votes twice
_MAX_KEPT = 10_000  # visitors and addresses each
_DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """A vote that has just been cast.

    Attributes:
        client: names the address; "" = not known.
        pair: names of left and right.
        prompts: of all turns.
        seconds: from the start of the answers to the vote.
    """

    owner: str
    client: str
    pair: tuple[str, str]
    prompts: tuple[str, ...]
    seconds: float


class Moderator:
    """Remembers visitors' and addresses' recent battles and votes, by hashes that no other process can compute.

    Args:
        max_per_hour: battles that one visitor may start.
        min_seconds: an earlier vote is flagged as fast.
    """

    def __init__(self, max_per_hour: int, min_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_per_hour, self._min_seconds = max_per_hour, min_seconds
        self._clock = clock
        self._salt = os.urandom(16)
        self._visitors = _Recent(clock)
        self._addresses = _Recent(clock)
        self._lock = threading.Lock()  # held for microseconds: visitors share an address

    def may_start(self, owner: str) -> bool:
        """Whether a visitor may start one more battle."""
        with self._lock:
            started = self._visitors.of(owner).started
            _drop_before(started, self._clock() - 3600.0)
            return len(started) < self._max_per_hour

    def started(self, owner: str) -> None:
        """Count a visitor's battle."""
        with self._lock:
            self._visitors.of(owner).started.append(self._clock())

    def flags(self, cast: Cast) -> list[Flag]:
        """The flags of a new vote."""
        digest, now = self._digest(cast), self._clock()
        found: dict[Flag, bool] = {"fast": cast.seconds < self._min_seconds}
        with self._lock:
            visitor = self._visitors.of(cast.owner)
            found["duplicate"] = visitor.judged[digest] > 0
            visitor.judged[digest] += 1
            is_burst = visitor.num_voted(now) > BURST_VOTES
            if cast.client:
                is_burst |= self._addresses.of(cast.client).num_voted(now) > ADDRESS_BURST_VOTES
        return [flag for flag, has_it in {**found, "burst": is_burst}.items() if has_it]

    def undone(self, cast: Cast) -> None:
        """A vote was not stored, so another one on the same answers is no duplicate."""
        with self._lock:
            if visitor := self._visitors.known(cast.owner):  # it may have been dropped meanwhile
                visitor.judged[self._digest(cast)] -= 1

    def forget(self, owner: str) -> None:
        with self._lock:
            self._visitors.pop(owner, None)

    def _digest(self, cast: Cast) -> str:
        judged = "\n".join(map(_normalised, (*sorted(cast.pair), *cast.prompts)))
        return hashlib.blake2b(judged.encode("utf-8", "replace"), key=self._salt, digest_size=16).hexdigest()


class _Recent(Recent[str, tuple[float, "_Voter"]]):
    """Visitors or addresses since their first use, at most a day ago; of `_MAX_KEPT`, those used last."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(_MAX_KEPT)
        self._clock = clock

    def known(self, key: str) -> _Voter | None:
        since, voter = self.get(key, (0.0, None))
        return None if self._clock() > since + _DAY_S else voter

    def of(self, key: str) -> _Voter:
        if self.known(key) is None:
            self[key] = self._clock(), _Voter()
        self.move_to_end(key)
        return self[key][1]


def _normalised(text: str) -> str:
    """A text without what is changed to make it look like another one: case, spaces, marks, and forms of letters."""
    plain = normalised("NFKC", text).casefold()
    return "".join(filter(str.isalnum, plain)) or plain


@dataclass(slots=True)
class _Voter:
    """A visitor or an address.

    Attributes:
        started, voted: when it started battles and voted.
        judged: how many votes stand on each pair of answers.
    """

    started: deque[float] = field(default_factory=deque)
    voted: deque[float] = field(default_factory=deque)
    judged: Counter[str] = field(default_factory=Counter)

    def num_voted(self, now: float) -> int:
        """Count a vote. Returns how many there are within `BURST_S`."""
        _drop_before(self.voted, now - BURST_S)
        self.voted.append(now)
        return len(self.voted)


def _drop_before(times: deque[float], oldest: float) -> None:
    while times and times[0] <= oldest:
        times.popleft()
