"""The log: without visitors' texts and repetitions, as JSON if wanted, with the members' states and ended runs."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gac_app.errors import ConfigError, ModelLoadError, StorageError
from gac_app.recent import Recent
from gac_app.services.members import MemberState
from gac_app.services.origin import ORIGIN, originating

if TYPE_CHECKING:  # it loads the storage
    from gac_app.services.runs.runs import LiveRun

logger = logging.getLogger(__name__)

FETCHING_S = 5.0  # between lines about one download
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


class JsonLines(logging.Formatter):
    """A record as a JSON object; `QuietLog` has put an exception's type and places into its message."""

    def format(self, record: logging.LogRecord) -> str:
        origin = ORIGIN.get()
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": origin.request_id or None,
            "run_id": origin.run_id or None,
            **getattr(record, "facts", {}),
        }
        return json.dumps({name: value for name, value in told.items() if value is not None}, ensure_ascii=False)


def log_as_json() -> None:
    """Write the log of this process as JSON."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines())


def log_ended(run: LiveRun) -> None:
    """Log a run that has ended: how, how long it took, how many tokens its answers have. These figures would tell who
    answers a battle.
    """
    if run.is_blind:
        return
    ends = [stream.finished for stream in run.streams.values() if stream.finished]
    facts = {
        "status": run.status,
        "reasons": sorted({end.reason.value for end in ends}),
        "answers": len(ends),
        "tokens": sum(end.num_decoded for end in ends),
        "seconds": round(time.monotonic() - run.came_at, 3),
    }
    with originating(request_id=run.origin.request_id, run_id=run.id):  # this thread may be another run's
        logger.info("a run ended", extra={"facts": facts})


class StateLog:
    """Logs a member's state when its phase changes, and a download's progress every few seconds."""

    def __init__(self) -> None:
        self._logged: dict[str, tuple[str, float]] = {}  # member -> phase, time

    def log(self, state: MemberState) -> None:
        now = time.monotonic()
        phase, logged_s = self._logged.get(state.name, ("", 0.0))
        if state.phase == phase and not (phase == "fetching" and now - logged_s >= FETCHING_S):
            return
        self._logged[state.name] = state.phase, now
        words = (
            f"{state.phase}: {state.detail}" if state.phase in ("failed", "waiting") and state.detail else state.words
        )
        if state.notice and state.phase == "fetching" != phase:
            words += f" ({state.notice})"
        logger.log(logging.ERROR if state.phase == "failed" else logging.INFO, "%s: %s", state.name, words)
