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

from gac_app.storage.database.engine import REFUSALS, refusal, scrub

_log = logging.getLogger(__name__)
_FIRST_DELAY_S, _MAX_DELAY_S = 0.05, 0.5  # between two attempts while the log is held


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
        self._changed = threading.Condition()
        self._waiting: list[_Deletion] = []
        self._is_due = False  # the log may hold something deleted
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="gac-scrubber", daemon=True)
        self._thread.start()

    def add(self, deletion: Future[None]) -> None:
        """Scrub after a deletion that is committed; its future is done once the log is clean."""
        with self._changed:
            self._waiting.append(_Deletion(deletion, time.monotonic() + self._patience_s))
            self._is_due = True
            self._changed.notify()

    def close(self) -> None:
        """Try a last time; what still waits then fails."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        delay_s = 0.0
        is_last = False
        while not is_last:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, delay_s)
                self._changed.wait_for(lambda: self._is_closed or self._is_due)
                is_last, is_due, deletions = self._is_closed, self._is_due, self._waiting
                self._waiting, self._is_due = [], False
            error = self._attempt() if is_due else None
            delay_s = 0.0 if error is None else min(2 * delay_s, _MAX_DELAY_S) or _FIRST_DELAY_S
            self._answer(deletions, error, is_last)

    def _attempt(self) -> Exception | None:
        try:
            scrub(self._engine)
        except (*REFUSALS, TimeoutError) as error:
            return error
        return None

    def _answer(self, deletions: list[_Deletion], error: Exception | None, is_last: bool) -> None:
        """Settle the futures of deletions; without success, of those that have waited long enough."""
        now = time.monotonic()
        left = [one for one in deletions if error and one.deadline > now and not is_last]
        for one in deletions:
            if error is None:
                one.future.set_result(None)
            elif one not in left:
                _log.error("the log still holds something deleted: %s", refusal(error))
                one.future.set_exception(refusal(error))
        if error:
            with self._changed:
                self._waiting[:0] = left
                self._is_due = True
