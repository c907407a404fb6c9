"""The queue: how many runs decode at once, and which is next."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Generic

from gac_app.errors import BusyError, Phrase
from gac_app.services.queue.order import FairOrder, Q, client_of, run_to_evict, visitor_of
from gac_app.services.threads import begin_thread, begin_timer

_LAST = True, math.inf  # after all that wait
OVERDUE_S = 10.0  # a run that takes longer lets one more begin, if there is a spare place


class RunQueue(Generic[Q]):
    """At most `max_running` runs at once, and at most `max_waiting` wait, in a `FairOrder`.

    While other visitors are present, no visitor may take all places, and batches never do. If the queue is full, the
    visitor with most waiting runs loses one.

    Of one visitor, blind runs and others take turns: how fast one is, or when it may begin, would tell what a blind one
    does. It gives way once it is shown to its end. Others behind the same address do not wait: it may be a school's.

    Args:
        work: carries out one run; called in its own thread.
        refuse: called with a run that will not begin after all, and why.
        num_spare: places beyond `max_running`, for visitors other than those whose runs take longer than `OVERDUE_S`,
            and at once for clients without a run while another has several.
    """

    def __init__(
        self,
        work: Callable[[Q], None],
        refuse: Callable[[Q, str], None],
        *,
        max_running: int,
        max_waiting: int,
        num_spare: int = 0,
    ) -> None:
        self._work, self._refuse = work, refuse
        self._max_running, self._max_waiting, self._num_spare = max_running, max_waiting, num_spare
        self._waiting: list[Q] = []
        self._running: dict[Q, float] = {}  # start times
        self._hidden: dict[Q, threading.Timer] = {}  # ended, but not shown to their end
        self._order = FairOrder()
        self._has_timer = False
        self._lock = threading.Lock()

    def check(self, run: Q) -> None:
        """Raise BusyError if `put` would do so now; for before what it costs to make a run ready."""
        with self._lock:
            self._displaced_by(run)

    def put(self, run: Q, on_taken: Callable[[], None]) -> None:
        """Start or queue a run. `on_taken` is called before it can begin.

        Raises:
            BusyError: the queue is full, and no run loses its place.
        """
        with self._changing():
            displaced = self._displaced_by(run)
            on_taken()
            if displaced is not None:
                self._waiting.remove(displaced)
            self._order.register(run, [*self._waiting, *self._running])
            self._waiting.append(run)
        if displaced is not None:
            self._refuse(displaced, "the queue was full, and others had their turn first; please try again")

    def remove(self, run: Q) -> bool:
        """Remove a waiting run. Returns whether it was still waiting."""
        with self._changing():
            if run not in self._waiting:
                return False
            self._waiting.remove(run)
            return True

    def reveal(self, run: Q) -> None:
        """Nothing of an ended run is hidden any more."""
        with self._changing():
            if timer := self._hidden.pop(run, None):
                timer.cancel()

    def counts(self) -> tuple[int, int]:
        """How many runs are running, and how many wait."""
        with self._lock:
            return len(self._running), len(self._waiting)

    def _displaced_by(self, run: Q) -> Q | None:
        if len(self._waiting) < self._max_waiting or self._next([run]):
            return None
        displaced = run_to_evict(run, self._waiting)
        if displaced is None:
            raise BusyError(Phrase("The queue is full. Try again in a minute."))
        return displaced

    @property
    def _num_free(self) -> int:
        overdue_since = time.monotonic() - OVERDUE_S
        num_overdue = sum(since <= overdue_since for since in self._running.values())
        return self._max_running + min(self._num_spare, num_overdue) - len(self._running)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """After the block, all that may begin does."""
        refused: dict[Q, str] = {}
        with self._lock:
            yield
            while run := self._next(self._waiting):
                self._waiting.remove(run)
                self._running[run] = time.monotonic()
                run.queue_place = 0
                try:
                    begin_thread(f"run-{run.id[:8]}", self._carry_out, run)
                except BusyError as error:
                    del self._running[run]
                    refused[run] = error.user_message
            for place, run in enumerate(self._order.in_order(self._waiting, self._running), start=1):
                if run.queue_place != place:  # else all who wait would be told of each newcomer
                    run.queue_place = place
                    run.changed()
            self._look_later()
        for run, why in refused.items():
            self._refuse(run, why)

    def _look_later(self) -> None:
        """Look again once the next run is overdue: one timer, however many runs come."""
        if self._has_timer or not (self._waiting and self._num_spare):
            return
        now = time.monotonic()
        since = min((since for since in self._running.values() if since > now - OVERDUE_S), default=now)
        self._has_timer = begin_timer(since + OVERDUE_S + 0.01 - now, self._look_again) is not None

    def _look_again(self) -> None:
        with self._changing():
            self._has_timer = False

    def _have_turns(self) -> Callable[[Q], bool]:
        """Whether nothing blind, or nothing but that, of a run's owner goes on or is before it."""
        under_way = {(run.owner, run.is_blind) for run in (*self._running, *self._hidden)}
        first: dict[tuple[str, bool], tuple[bool, float]] = {}
        for run in self._waiting:
            kind = run.owner, run.is_blind
            first[kind] = min(first.get(kind, _LAST), (run.is_of_batch, run.came_at))

        def has_turn(run: Q) -> bool:
            other_kind = run.owner, not run.is_blind
            comes_first = (run.is_of_batch, run.came_at) < first.get(other_kind, _LAST)
            return other_kind not in under_way and comes_first

        return has_turn

    def _next(self, among: Collection[Q]) -> Q | None:
        """The run that may begin now, if any."""
        num_free = self._num_free
        counts = Counter(name for run in self._running for name in (client_of(run), visitor_of(run)))
        has_spare = len(self._running) < self._max_running + self._num_spare
        has_turn = self._have_turns()
        is_crowded = len(set(map(client_of, self._running))) < len(self._running)

        def leaves_room(run: Q) -> bool:
            if not has_turn(run):
                return False
            if num_free <= 0:
                return has_spare and is_crowded and not counts[client_of(run)] and not run.is_of_batch
            if num_free > 1:
                return True
            if run.is_of_batch and self._max_running > 1:
                return False
            return not any(
                counts[name] and counts[name] >= self._max_running - 1 and self._order.are_others(name)
                for name in (client_of(run), visitor_of(run))
            )

        return next(filter(leaves_room, self._order.in_order(among, self._running)), None)

    def _carry_out(self, run: Q) -> None:
        try:
            self._work(run)
        finally:
            with self._changing():
                self._order.charge(run, time.monotonic() - self._running.pop(run))
                if (hidden_s := run.hidden_s()) and (timer := begin_timer(hidden_s, self.reveal, run)):
                    self._hidden[run] = timer
