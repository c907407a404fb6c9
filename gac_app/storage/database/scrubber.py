"""Removes what was deleted from SQLite's write-ahead log, in a thread of its own: a reader, such as a backup, may hold
the log for long, and no write waits for that.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from typing import NamedTuple

from sqlalchemy import Engine

from gac_app.errors import StorageError
from gac_app.storage.database.engine import REFUSALS, refusal, scrub
from gac_app.storage.database.worker import Worker

_log = logging.getLogger(__name__)
_PAUSES_S = 0.05, 0.5  # while the log is held


class _Deletion(NamedTuple):
    future: Future[None]
    deadline: float  # monotonic


class Scrubber:
    """Scrubs after deletions, until it succeeds.

    Args:
        patience_s: after this time a deletion's future fails. Its scrubbing goes on.
    """

    def __init__(self, engine: Engine, patience_s: float) -> None:
        self._engine, self._patience_s = engine, patience_s
        self._lock = threading.Lock()
        self._waiting: list[_Deletion] = []
        self._is_due = False  # the log may hold something deleted
        self._worker = Worker("gac-scrubber", self._scrub, _PAUSES_S)
        self._worker.start()

    def add(self, deletion: Future[None]) -> None:
        """Scrub after a deletion that is committed; its future is done once the log is clean."""
        with self._lock:
            self._waiting.append(_Deletion(deletion, time.monotonic() + self._patience_s))
        self._worker.wake()

    def close(self) -> None:
        """Try a last time; what still waits then fails."""
        self._worker.close()

    def _scrub(self, is_last: bool) -> bool:
        """Scrub, and settle the futures of deletions; without success, of those that have waited long enough."""
        with self._lock:
            deletions, self._waiting = self._waiting, []
        self._is_due = self._is_due or bool(deletions)
        try:
            if self._is_due:
                scrub(self._engine)
        except (*REFUSALS, TimeoutError) as error:
            self._give_up(deletions, refusal(error), is_last)
            return False
        self._is_due = False
        for one in deletions:
            one.future.set_result(None)
        return True

    def _give_up(self, deletions: list[_Deletion], error: StorageError, is_last: bool) -> None:
        """Fail the futures of deletions that have waited long enough; the others go on waiting."""
        now = time.monotonic()
        left = [one for one in deletions if one.deadline > now and not is_last]
        for one in deletions:
            if one not in left:
                _log.error("the log still holds something deleted: %s", error)
                one.future.set_exception(error)
        with self._lock:
            self._waiting[:0] = left
