"""A fair order: runs by the decoding time that clients and visitors have had."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from typing import Protocol, TypeVar

PRESENT_S = 300.0  # a client or visitor counts as present so long after its last run


class Queued(Protocol):
    """What the queue knows of a run.

    Attributes:
        client: its origin.
        owner: its visitor.
        is_of_batch: it leaves a place to runs that somebody watches.
        is_blind: its owner's other runs, unless they are blind too, must not decode beside it.
        came_at: monotonic.
        queue_place: runs before it; 0 = it has begun. Set by the queue.
    """

    id: str
    client: str
    owner: str
    is_of_batch: bool
    is_blind: bool
    came_at: float
    queue_place: int

    def hidden_s(self) -> float:
        """Seconds until all is shown of what it has decoded."""

    def changed(self) -> None:
        """Its place has changed."""


Q = TypeVar("Q", bound=Queued)


class FairOrder:
    """Orders waiting runs so that clients, and each client's visitors, get equal time.

    A newcomer starts level with the present client that had the least time, so a new name gains nothing (as in
    fair-share schedulers).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._had_s: dict[str, float] = {}
        self._seen_at: dict[str, float] = {}

    def register(self, run: Queued, others: Iterable[Queued]) -> None:
        """Count a new run; `others` are waiting or running."""
        others = list(others)
        beside = [other for other in others if other.client == run.client]
        for name, rivals in (
            (client_of(run), {client_of(other) for other in others}),
            (visitor_of(run), {visitor_of(other) for other in beside}),
        ):
            level_s = min((self._had_s.get(rival, 0.0) for rival in rivals), default=0.0)
            if name not in rivals:
                self._had_s[name] = max(self._had_s.get(name, 0.0), level_s)
            self._seen_at[name] = self._clock()
        oldest = self._clock() - PRESENT_S
        here = {name for other in others for name in (client_of(other), visitor_of(other))}
        self._seen_at = {name: at for name, at in self._seen_at.items() if at >= oldest or name in here}
        self._had_s = {name: had_s for name, had_s in self._had_s.items() if name in self._seen_at}

    def charge(self, run: Queued, seconds: float) -> None:
        """Charge a run's client and visitor for decoding time."""
        for name in (client_of(run), visitor_of(run)):
            self._had_s[name] = self._had_s.get(name, 0.0) + seconds
            self._seen_at[name] = self._clock()

    def are_others(self, name: str) -> bool:
        """Whether another client or visitor was present recently."""
        oldest = self._clock() - PRESENT_S
        return any(other[0] == name[0] and other != name and at >= oldest for other, at in self._seen_at.items())

    def in_order(self, waiting: Collection[Q], running: Collection[Q]) -> list[Q]:
        """The waiting runs, next first."""
        by_client: defaultdict[str, list[Q]] = defaultdict(list)
        for run in waiting:
            by_client[client_of(run)].append(run)
        ranked: list[Q] = []
        for of_client in by_client.values():
            ranked += self._ranked(of_client, running, visitor_of)
        return self._ranked(ranked, running, client_of)

    def _ranked(self, waiting: list[Q], running: Collection[Q], name_of: Callable[[Queued], str]) -> list[Q]:
        """Round robin over names: fewer running runs first, then less time had, then order of arrival."""
        before = Counter(map(name_of, running))
        ranks: dict[Q, tuple[int, float, float]] = {}
        for run in waiting:
            name = name_of(run)
            ranks[run] = before[name], self._had_s.get(name, 0.0), run.came_at
            before[name] += 1
        return sorted(waiting, key=ranks.__getitem__)


def run_to_evict(newcomer: Q, waiting: list[Q]) -> Q | None:
    """The run that loses its place in a full queue: the last one of the client, and then the visitor, with most waiting
    runs. None if nobody has two more than the newcomer.
    """
    for name_of in (client_of, visitor_of):
        counts = Counter(map(name_of, waiting))
        name, most = max(counts.items(), key=lambda item: item[1], default=("", 0))
        if most > counts[name_of(newcomer)] + 1:
            own = [run for run in waiting if name_of(run) == name]
            visitor = Counter(map(visitor_of, own)).most_common(1)[0][0]
            return next(run for run in reversed(own) if visitor_of(run) == visitor)
    return None


def client_of(run: Queued) -> str:
    return f"client {run.client}"


def visitor_of(run: Queued) -> str:
    return f"visitor {run.owner}"
