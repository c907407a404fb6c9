"""How many runs decode at once, and who is next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from gac_app.errors import BusyError
from gac_app.services.views import LiveRun


class RunQueue:
    """First come, first served: at most `max_running` runs at once, at most `max_waiting` behind them.

    Args:
        work: carries out one run; called in a thread of its own.
    """

    def __init__(self, work: Callable[[LiveRun], None], *, max_running: int, max_waiting: int) -> None:
        self._work = work
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._waiting: deque[LiveRun] = deque()
        self._num_running = 0
        self._lock = threading.Lock()

    def put(self, run: LiveRun, on_taken: Callable[[], None]) -> None:
        """Start a run, or let it wait; `on_taken` is called before it can begin. Raises BusyError if too many wait."""
        with self._lock:
            if self._num_running >= self._max_running and len(self._waiting) >= self._max_waiting:
                raise BusyError("The queue is full at the moment. Please try again in a minute.")
            on_taken()
            self._waiting.append(run)
            self._advance()

    def remove(self, run: LiveRun) -> bool:
        """Take a run out that has not begun; whether it was still waiting."""
        with self._lock:
            if run not in self._waiting:
                return False
            self._waiting.remove(run)
            self._advance()
            return True

    def _advance(self) -> None:
        while self._waiting and self._num_running < self._max_running:
            run = self._waiting.popleft()
            self._num_running += 1
            run.queue_place = 0
            threading.Thread(target=self._carry_out, args=(run,), name=f"run-{run.id[:8]}", daemon=True).start()
        for place, run in enumerate(self._waiting, start=1):
            run.queue_place = place
            run.changed()

    def _carry_out(self, run: LiveRun) -> None:
        try:
            self._work(run)
        finally:
            with self._lock:
                self._num_running -= 1
                self._advance()
