"""Keeps visitors' texts and repetitions out of the log."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gac_app.errors import ConfigError, ModelLoadError, StorageError
from gac_app.recent import Recent

logger = logging.getLogger(__name__)

PER_MINUTE = 5  # of similar warnings and errors
MAX_KINDS = 1000
_FOR_OPERATORS = (ConfigError, ModelLoadError, StorageError)  # their messages are ours and hold no visitor's text
_FORGING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")  # lines, and their direction


@contextmanager
def texts_kept_out() -> Iterator[None]:
    """Within, nothing tells a visitor's text: no record of the log, and no exception that ends a thread or is lost."""
    quiet, handlers = QuietLog(), list(logging.getLogger().handlers)
    hooks = threading.excepthook, sys.unraisablehook
    for handler in handlers:
        handler.addFilter(quiet)
    threading.excepthook = lambda broken: logger.error("a thread broke", exc_info=broken.exc_value)
    sys.unraisablehook = lambda lost: logger.error("an exception was lost", exc_info=lost.exc_value)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = hooks
        for handler in handlers:
            handler.removeFilter(quiet)


class QuietLog(logging.Filter):
    """A filter for handlers. Exceptions lose their message, which may contain a visitor's text, and keep type and
    place. A record is one line, whatever it quotes. Of similar warnings and errors, `PER_MINUTE` pass; the first one in
    the next minute tells how many were dropped.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed: Recent[tuple[object, ...], tuple[float, int]] = Recent(MAX_KINDS)  # -> start time, count

    def filter(self, record: logging.LogRecord) -> bool:
        kind = _take_words(record)
        if record.levelno < logging.WARNING:
            return True
        since, num_alike = self._passed.get(kind, (time.monotonic(), 0))
        if time.monotonic() - since > 60:
            if num_alike > PER_MINUTE:
                record.msg = f"{record.msg} [and {num_alike - PER_MINUTE} more like it]"
            since, num_alike = time.monotonic(), 0
        self._passed[kind] = since, num_alike + 1
        return num_alike < PER_MINUTE


def _take_words(record: logging.LogRecord) -> tuple[object, ...]:
    """Leave one line of a record, without words of exceptions. Returns what similar records have in common."""
    template, args = _without_words(record.msg), record.args or ()
    if record.name == "asyncio":  # after the first line, it shows the task with its exception
        template, args = str(template).partition("\n")[0], ()
    if isinstance(args, Mapping):
        record.args = {name: _without_words(value) for name, value in args.items()}
    else:
        record.args = tuple(map(_without_words, args))
    record.msg = template
    try:
        told = record.getMessage().strip()
    except Exception as error:  # of any kind: logging itself would print all arguments
        told = f"a record of {record.name} cannot be written: {place_of(error)}"
    place = place_of(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
    record.msg = _FORGING.sub(lambda found: ascii(found[0])[1:-1], f"{told}: {place}" if place else told)
    record.args = record.exc_info = record.exc_text = record.stack_info = None
    return record.name, template, place


def _without_words(value: Any) -> Any:
    """What is logged of a value: of an exception type and place, unless its message is for operators."""
    return place_of(value) if isinstance(value, BaseException) and not isinstance(value, _FOR_OPERATORS) else value


def place_of(error: BaseException) -> str:
    """`ValueError at runs.py:12 in start, called by ...`: the three innermost places, without message or values. What
    the operating system refused says why.
    """
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}" for frame in reversed(frames)]
    why = f" ({os.strerror(error.errno)})" if isinstance(error, OSError) and error.errno else ""
    return f"{type(error).__name__}{why}" + (" at " + ", called by ".join(places) if places else "")
