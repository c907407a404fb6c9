"""Keeps visitors' texts and repetitions out of the log."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections import OrderedDict

logger = logging.getLogger(__name__)

PER_MINUTE = 5  # of similar warnings and errors
MAX_KINDS = 1000


class QuietLog(logging.Filter):
    """A filter for handlers. Exceptions of other packages lose their message, which may contain a visitor's text, and
    keep type and place. Of similar warnings and errors, `PER_MINUTE` pass; the first one in the next minute tells how
    many were dropped.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()  # -> start time, count

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("gac_app"):
            _take_words(record)
        if record.levelno < logging.WARNING:
            return True
        kind = (record.name, record.msg, record.exc_info[0] if record.exc_info else None, record.exc_text)
        since, num_alike = self._passed.pop(kind, (time.monotonic(), 0))
        if time.monotonic() - since > 60:
            if num_alike > PER_MINUTE:
                record.msg = f"{record.msg} [and {num_alike - PER_MINUTE} more like it]"
            since, num_alike = time.monotonic(), 0
        self._passed[kind] = since, num_alike + 1
        if len(self._passed) > MAX_KINDS:
            self._passed.popitem(last=False)
        return num_alike < PER_MINUTE


def _take_words(record: logging.LogRecord) -> None:
    if record.name == "asyncio":  # after the first line, it shows the task with its exception
        record.msg, record.args = record.getMessage().partition("\n")[0], None
    if record.exc_info and record.exc_info[1] is not None:
        record.msg, record.args = f"{record.getMessage().strip()}: {place_of(record.exc_info[1])}", None
        record.exc_info = record.exc_text = None


def log_without_text() -> None:
    """Log the current exception by type and place only, since its message may contain a visitor's text."""
    error = sys.exc_info()[1]
    if error is not None:
        logger.error("an event of the page broke: %s", place_of(error))


def place_of(error: BaseException) -> str:
    """`ValueError at runs.py:12 in start, called by ...`: the three innermost places, without message or values."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}" for frame in reversed(frames)]
    return f"{type(error).__name__} at " + ", called by ".join(places)
