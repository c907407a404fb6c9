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
        self._lock = threading.Lock()

    @contextmanager
    def following(self, run: LiveRun) -> Iterator[None]:
        """A page follows the run until the block ends."""
        with self._lock:
            run.num_followers += 1
        try:
            yield
        finally:
            self._leave(run)

    def note_seen(self, run: LiveRun) -> None:
        """A page shows the run."""
        run.is_seen = True

    def _leave(self, run: LiveRun) -> None:
        with self._lock:
            run.num_followers -= 1
            run.num_departures += 1
            if run.num_followers or run.over.is_set():
                return
        if run.is_seen:
            timer = threading.Timer(self.unseen_s, self._end, (run, run.num_departures))
            timer.daemon = True
            timer.start()
        else:
            self._stop(run)

    def _end(self, run: LiveRun, num_departures: int) -> None:
        """End the run, unless a page has come back since."""
        if not run.num_followers and run.num_departures == num_departures:
            self._stop(run)
