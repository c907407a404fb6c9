"""Tracks which pages show a run. A run without a page ends after a while, so that a page can be reloaded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gac_app.services.runs.live_run import LiveRun

UNSEEN_S = 15.0


class Audience:
    """Counts the pages that follow each run, and ends a run after the last has left.

    A page that follows a run may not show it, because events may reach nobody. So a run that no page has reported to
    show (`note_seen`) ends as soon as no page follows it.

    Args:
        stop: ends a run.
        unseen_s: how long a run that was shown continues without a page.
    """

    def __init__(self, stop: Callable[[LiveRun], None], unseen_s: float = UNSEEN_S) -> None:
        self.unseen_s = unseen_s
        self._stop = stop
        self._num_followers: dict[str, int] = {}
        self._seen: set[str] = set()
        self._timers: dict[str, threading.Timer] = {}
        self._lock = threading.Lock()

    @contextmanager
    def following(self, run: LiveRun) -> Iterator[None]:
        """A page follows the run until the block ends."""
        with self._lock:
            self._num_followers[run.id] = self._num_followers.get(run.id, 0) + 1
            self._disarm(run.id)
        try:
            yield
        finally:
            self._leave(run)

    def note_seen(self, run: LiveRun) -> None:
        """A page shows the run."""
        with self._lock:
            if not run.over.is_set():
                self._seen.add(run.id)

    def _leave(self, run: LiveRun) -> None:
        with self._lock:
            self._num_followers[run.id] -= 1
            if self._num_followers[run.id]:
                return
            del self._num_followers[run.id]
            if run.over.is_set():
                self._seen.discard(run.id)
                return
            if run.id in self._seen:
                timer = self._timers[run.id] = threading.Timer(self.unseen_s, self._end, (run,))
                timer.daemon = True
                timer.start()
                return
        self._stop(run)

    def _end(self, run: LiveRun) -> None:
        with self._lock:
            if run.id in self._num_followers:
                return
            self._disarm(run.id)
            self._seen.discard(run.id)
        self._stop(run)

    def _disarm(self, run_id: str) -> None:
        if timer := self._timers.pop(run_id, None):
            timer.cancel()
