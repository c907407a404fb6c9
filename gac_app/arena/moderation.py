"""Flags suspicious votes on a public host. They are stored with their flags, and ratings can leave them out.

A visitor is whatever a browser says it is, so votes are also looked at by address. Nothing is refused here: behind one
address may be a classroom.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

Flag = Literal["fast", "duplicate", "burst", "same-prompt", "agreement"]

BURST_S = 60.0
BURST_VOTES = 10  # of one visitor within that time
ADDRESS_BURST_VOTES = 60  # of one address; a class of 30 votes twice
SAME_PROMPT_VOTES = 5  # of one address on the same prompt and pair
SURPRISE = math.log(1e6)  # chance explains the votes of an address once in a million
_MAX_VISITORS = 10_000
_DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """A vote that has just been cast.

    Attributes:
        client: names the address; "" = not known.
        pair: names of left and right.
        prompts: of all turns.
        left_score: 0 to 1.
        left_odds: the score that the ratings predict.
        seconds: from the start of the answers to the vote.
    """

    owner: str
    client: str
    pair: tuple[str, str]
    prompts: tuple[str, ...]
    left_score: float
    left_odds: float
    seconds: float

    @property
    def scores(self) -> Iterator[tuple[str, float, float]]:
        """Each contestant's name, score and predicted score."""
        yield self.pair[0], self.left_score, self.left_odds
        yield self.pair[1], 1 - self.left_score, 1 - self.left_odds


def surprise(num: int, score: float, predicted: float) -> float:
    """Minus the logarithm of a bound on the chance that `num` votes sum to a score so far from the predicted one.

    Hoeffding's bound for independent values between 0 and 1 (1963, theorem 1): n KL(score/n || predicted/n).
    """
    mean, odds = score / num, predicted / num
    parts = ((mean, odds), (1 - mean, 1 - odds))
    return num * sum(part * math.log(part / chance) for part, chance in parts if part > 0)


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
        self._visitors: OrderedDict[str, _Visitor] = OrderedDict()
        self._addresses: OrderedDict[str, _Address] = OrderedDict()
        self._lock = threading.Lock()  # held for microseconds: visitors share an address

    def may_start(self, owner: str) -> bool:
        """Whether a visitor may start one more battle."""
        with self._lock:
            started = self._of(owner).started
            _drop_before(started, self._clock() - 3600.0)
            return len(started) < self._max_per_hour

    def started(self, owner: str) -> None:
        """Count a visitor's battle."""
        with self._lock:
            self._of(owner).started.append(self._clock())

    def flags(self, cast: Cast) -> list[Flag]:
        """The flags of a new vote."""
        with self._lock:
            return self._flags(cast)

    def _flags(self, cast: Cast) -> list[Flag]:
        visitor, digest = self._of(cast.owner), self._digest(cast)
        found: list[Flag] = []
        if cast.seconds < self._min_seconds:
            found.append("fast")
        if digest in visitor.judged:
            found.append("duplicate")
        is_burst = _counted(visitor.voted, self._clock()) > BURST_VOTES
        visitor.judged.add(digest)
        if address := self._address_of(cast):
            is_burst |= _counted(address.voted, self._clock()) > ADDRESS_BURST_VOTES
            found += address.note(cast, digest)
        return [*found, "burst"] if is_burst else found

    def undone(self, cast: Cast) -> None:
        """A vote was taken back or not stored, so it is as if it had never come."""
        digest = self._digest(cast)
        with self._lock:
            if visitor := self._visitors.get(cast.owner):  # None if dropped meanwhile
                visitor.judged.discard(digest)
            if address := self._addresses.get(cast.client):
                address.take_back(cast, digest)

    def forget(self, owner: str) -> None:
        with self._lock:
            self._visitors.pop(owner, None)

    def _digest(self, cast: Cast) -> bytes:
        judged = "\n".join([*sorted(cast.pair), *cast.prompts])
        return hashlib.blake2b(judged.encode("utf-8", "replace"), key=self._salt, digest_size=16).digest()

    def _of(self, owner: str) -> _Visitor:
        visitor = self._visitors.setdefault(owner, _Visitor())
        self._visitors.move_to_end(owner)
        while len(self._visitors) > _MAX_VISITORS:
            self._visitors.popitem(last=False)
        return visitor

    def _address_of(self, cast: Cast) -> _Address | None:
        """What is known of the vote's address since it first voted, at most a day ago."""
        if not cast.client:
            return None
        now = self._clock()
        address = self._addresses.get(cast.client)
        if address is None or now > address.since + _DAY_S:
            address = self._addresses[cast.client] = _Address(now)
        self._addresses.move_to_end(cast.client)
        while len(self._addresses) > _MAX_VISITORS:
            self._addresses.popitem(last=False)
        return address


class _Visitor:
    def __init__(self) -> None:
        self.started: deque[float] = deque()
        self.voted: deque[float] = deque()
        self.judged: set[bytes] = set()


@dataclass(slots=True)
class _Address:
    """The votes of an address. `tallies`: of each contestant, its votes, score and predicted score."""

    since: float
    voted: deque[float] = field(default_factory=deque)
    judged: Counter[bytes] = field(default_factory=Counter)
    tallies: dict[str, tuple[int, float, float]] = field(default_factory=dict)

    def note(self, cast: Cast, digest: bytes) -> Iterator[Flag]:
        """Count a vote, and flag it."""
        self.judged[digest] += 1
        self._add(cast, 1)
        if self.judged[digest] > SAME_PROMPT_VOTES:
            yield "same-prompt"
        if any(self._agrees(*one) for one in cast.scores):
            yield "agreement"

    def take_back(self, cast: Cast, digest: bytes) -> None:
        self.judged[digest] -= 1
        self._add(cast, -1)

    def _add(self, cast: Cast, sign: int) -> None:
        for name, score, odds in cast.scores:
            num, total, predicted = self.tallies.get(name, (0, 0.0, 0.0))
            self.tallies[name] = num + sign, total + sign * score, predicted + sign * odds

    def _agrees(self, name: str, score: float, odds: float) -> bool:
        """Whether a vote goes the way of the others on this contestant, and chance does not explain them."""
        num, total, predicted = self.tallies[name]
        return (total - predicted) * (score - odds) > 0 and surprise(num, total, predicted) > SURPRISE


def _counted(times: deque[float], now: float) -> int:
    """Add a time. Returns how many there are within `BURST_S`."""
    _drop_before(times, now - BURST_S)
    times.append(now)
    return len(times)


def _drop_before(times: deque[float], oldest: float) -> None:
    while times and times[0] <= oldest:
        times.popleft()
