"""Flags suspicious votes on a public host. They are stored with their flags, and ratings can leave them out.

A visitor is whatever a browser says it is, so votes are also looked at by address, and prompts across addresses: who
knows how a contestant answers a prompt asks it again and again. Nothing is refused here: behind one address may be a
classroom.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from gac_app.recent import Recent
from gac_app.validation import normalised

Flag = Literal["fast", "duplicate", "burst", "same-prompt", "agreement"]

BURST_S = 60.0
BURST_VOTES = 10  # of one visitor within that time
ADDRESS_BURST_VOTES = 60  # of one address; a class of 30 votes twice
SAME_PROMPT_VOTES = 5  # of one address on the same prompt and pair
SAME_PROMPT_ADDRESSES = 5  # of which each voted on the same first prompt
SURPRISE = math.log(1e6)  # chance explains the votes of an address once in a million
_MAX_KEPT = 10_000  # visitors, addresses and prompts each
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
        self._visitors = _Recent(_Voter, clock)
        self._addresses = _Recent(_Voter, clock)
        self._prompts: _Recent[Counter[str]] = _Recent(Counter, clock)  # votes by address
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
            is_burst = visitor.num_voted(now) > BURST_VOTES
            visitor.note(cast, digest)
            if cast.client:
                address, prompt = self._addresses.of(cast.client), self._prompts.of(self._digest_of(cast.prompts[:1]))
                is_burst |= address.num_voted(now) > ADDRESS_BURST_VOTES
                address.note(cast, digest)
                prompt[cast.client] += 1
                is_same = address.judged[digest] > SAME_PROMPT_VOTES or len(prompt) > SAME_PROMPT_ADDRESSES
                found |= {"same-prompt": is_same, "agreement": address.agrees(cast)}
        return [flag for flag, has_it in {**found, "burst": is_burst}.items() if has_it]

    def undone(self, cast: Cast) -> None:
        """A vote was taken back or not stored, so it is as if it had never come."""
        digest = self._digest(cast)
        with self._lock:  # what was dropped meanwhile is not there
            for voter in (self._visitors.known(cast.owner), self._addresses.known(cast.client)):
                if voter:
                    voter.note(cast, digest, sign=-1)
            if prompt := self._prompts.known(self._digest_of(cast.prompts[:1])):
                prompt -= Counter([cast.client])

    def forget(self, owner: str) -> None:
        with self._lock:
            self._visitors.pop(owner, None)

    def _digest(self, cast: Cast) -> str:
        return self._digest_of([*sorted(cast.pair), *cast.prompts])

    def _digest_of(self, texts: Iterable[str]) -> str:
        judged = "\n".join(map(_normalised, texts))
        return hashlib.blake2b(judged.encode("utf-8", "replace"), key=self._salt, digest_size=16).hexdigest()


V = TypeVar("V")


class _Recent(Recent[str, tuple[float, V]]):
    """Values by key since the first use of the key, at most a day ago; of `_MAX_KEPT` keys, those used last."""

    def __init__(self, new: Callable[[], V], clock: Callable[[], float]) -> None:
        super().__init__(_MAX_KEPT)
        self._new, self._clock = new, clock

    def known(self, key: str) -> V | None:
        since, value = self.get(key, (0.0, None))
        return None if self._clock() > since + _DAY_S else value

    def of(self, key: str) -> V:
        if self.known(key) is None:
            self[key] = self._clock(), self._new()
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
        tallies: of each contestant, the votes, score and predicted score.
    """

    started: deque[float] = field(default_factory=deque)
    voted: deque[float] = field(default_factory=deque)
    judged: Counter[str] = field(default_factory=Counter)
    tallies: dict[str, tuple[int, float, float]] = field(default_factory=dict)

    def num_voted(self, now: float) -> int:
        """Count a vote. Returns how many there are within `BURST_S`."""
        _drop_before(self.voted, now - BURST_S)
        self.voted.append(now)
        return len(self.voted)

    def note(self, cast: Cast, digest: str, sign: int = 1) -> None:
        """Count a vote, or take it back (`sign` -1)."""
        self.judged[digest] += sign
        for name, score, odds in cast.scores:
            num, total, predicted = self.tallies.get(name, (0, 0.0, 0.0))
            self.tallies[name] = num + sign, total + sign * score, predicted + sign * odds

    def agrees(self, cast: Cast) -> bool:
        """Whether a vote goes the way of the others on a contestant, and chance does not explain them."""
        for name, score, odds in cast.scores:
            num, total, predicted = self.tallies[name]
            if (total - predicted) * (score - odds) > 0 and surprise(num, total, predicted) > SURPRISE:
                return True
        return False


def _drop_before(times: deque[float], oldest: float) -> None:
    while times and times[0] <= oldest:
        times.popleft()
