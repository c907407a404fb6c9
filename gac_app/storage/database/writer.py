"""The writing thread. A stream never waits for the database."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gac_app.errors import GacError, StorageError
from gac_app.storage.database.engine import REFUSALS, refusal

T = TypeVar("T")

_log = logging.getLogger(__name__)
_MAX_WAITING = 10_000
_MAX_DELAY_S = 2.0
# Locked, disk full, input/output error, connection lost, no connection free: these may be temporary.
_RETRYABLE = (OperationalError, InterfaceError, InternalError, sqlite3.OperationalError, PoolTimeoutError)


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[], Any]
    future: Future[Any]
    deadline: float  # monotonic


class Writer:
    """Takes writes in order, retries those that may still succeed, and gives a future for each.

    Args:
        retry_s: how long after submission a write is retried. Every write is tried at least once.

    Attributes:
        num_errors: writes lost.
    """

    def __init__(self, retry_s: float) -> None:
        self.num_errors = 0
        self._retry_s = retry_s
        self._jobs: queue.Queue[_Job | None] = queue.Queue()
        self._lock = threading.Lock()
        self._is_closed = False
        self._give_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gac-storage", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Queue `work`, a whole transaction. The future gives the result. It fails with StorageError if the database
        keeps failing, or with the error of `work`.
        """
        future: Future[T] = Future()
        # Cannot be cancelled: closing a page must not cancel its write.
        future.set_running_or_notify_cancel()
        with self._lock:
            problem = "is closed" if self._is_closed else "has too many writes waiting"
            if self._is_closed or self._jobs.qsize() >= _MAX_WAITING:
                self.num_errors += 1
                future.set_exception(StorageError(f"not saved: the store {problem}"))
            else:
                self._jobs.put(_Job(work, future, time.monotonic() + self._retry_s))
        return future

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything submitted so far is settled. Returns False if that takes longer."""
        try:
            self.submit(lambda: None).result(timeout_s)
        except TimeoutError:
            return False
        except StorageError:  # closed, so nothing is pending
            return not self._thread.is_alive()
        return True

    def close(self, timeout_s: float) -> None:
        """Write what is queued, for at most `timeout_s`; fail the rest."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._jobs.put(None)
        self._thread.join(timeout_s)
        self._give_up.set()
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                result = self._persist(job)
            except BaseException as error:
                if not isinstance(error, GacError) or isinstance(error, StorageError):
                    self.num_errors += 1
                    # The message of a bug might contain a visitor's text, so only the future carries it.
                    _log.error("a write was lost: %s", error if isinstance(error, GacError) else type(error).__name__)
                job.future.set_exception(error)
            else:
                job.future.set_result(result)

    def _persist(self, job: _Job) -> Any:
        delay_s = 0.05
        while True:
            if self._give_up.is_set():
                raise StorageError("not saved: the store was closed before the database took it")
            try:
                return job.work()
            except _RETRYABLE as error:
                if time.monotonic() + delay_s > job.deadline:
                    raise refusal(error) from None
            except REFUSALS as error:
                raise refusal(error) from None
            self._give_up.wait(delay_s)
            delay_s = min(2 * delay_s, _MAX_DELAY_S)
