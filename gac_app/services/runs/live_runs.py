"""The runs in memory, each accessible to its owner alone."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from gac_app.errors import BusyError, NotFoundError, Phrase
from gac_app.services.runs.live_run import LiveRun

CHANGE_TIMEOUT_S = 5.0  # waiting time for the same visitor's other changes
KEPT_RUNS = 32  # finished runs kept for pages that still show them


class LiveRuns:
    """Runs of this process, oldest first. Finished ones that wait for no write are dropped for newer ones."""

    def __init__(self) -> None:
        self._runs: dict[str, LiveRun] = {}
        self._changing: WeakValueDictionary[str, threading.RLock] = WeakValueDictionary()
        self._lock = threading.Lock()

    @contextmanager
    def changing(self, owner: str) -> Iterator[None]:
        """Serialises changes of an owner's runs: none begins from text that is being deleted. Raises BusyError."""
        with self._lock:
            lock = self._changing.setdefault(owner, threading.RLock())
        if not lock.acquire(timeout=CHANGE_TIMEOUT_S):
            raise BusyError(Phrase("Something is still being deleted. Try again in a moment."))
        try:
            yield
        finally:
            lock.release()

    def add(self, run: LiveRun) -> None:
        with self._lock:
            self._runs[run.id] = run
            over = [run.id for run in self._runs.values() if run.is_over_and_saved]
            for run_id in over[:-KEPT_RUNS]:
                del self._runs[run_id]

    def find(self, owner: str, run_id: str) -> LiveRun:
        """A run by its id. Raises NotFoundError, also for another owner's."""
        with self._lock:
            run = self._runs.get(run_id)
        if run is None or not hmac.compare_digest(run.owner, owner):
            raise NotFoundError(Phrase("No such run."))
        return run

    def of(self, owner: str) -> list[LiveRun]:
        with self._lock:
            return [run for run in self._runs.values() if hmac.compare_digest(run.owner, owner)]

    def all(self) -> list[LiveRun]:
        with self._lock:
            return list(self._runs.values())

    def remove(self, runs: list[LiveRun]) -> None:
        with self._lock:
            for run in runs:
                self._runs.pop(run.id, None)
