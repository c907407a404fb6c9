"""Waits for writes, or logs their failure."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import TypeVar

from gac_app.errors import GacError, Phrase, StorageError

T = TypeVar("T")

logger = logging.getLogger(__name__)

STORE_TIMEOUT_S = 10.0  # waiting time for a vote, a deletion or a result


def wait_for(write: Future[T]) -> T:
    """Wait for a write. Raises its error, or StorageError if it takes too long."""
    try:
        return write.result(STORE_TIMEOUT_S)
    except TimeoutError:
        raise StorageError(Phrase("The database is busy. This may be saved a little later.")) from None


def log_failure(write: Future[None], what: str) -> None:
    """Log the failure of a write that nobody waits for, with its id and reason, but none of its text."""

    def note(done: Future[None]) -> None:
        error = done.exception()
        if error is not None:
            # A GacError's message does not contain the text.
            logger.error("%s was not saved: %s", what, error if isinstance(error, GacError) else type(error))

    write.add_done_callback(note)
