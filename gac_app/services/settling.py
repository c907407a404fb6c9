"""Waiting for a write."""

from __future__ import annotations

from concurrent.futures import Future

from gac_app.errors import StorageError

STORE_TIMEOUT_S = 10.0  # for a vote, a deletion or a result to be written


def settle(write: Future[None]) -> None:
    """Return when it is written. Raises what the write raised, or StorageError where it takes too long."""
    try:
        write.result(STORE_TIMEOUT_S)
    except TimeoutError:
        raise StorageError("the database is busy; this may be saved a little later") from None
