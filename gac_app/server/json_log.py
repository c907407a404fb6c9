"""The log as JSON, a record a line, with the ids of the request and the run that it belongs to."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any

from gac_app.services.origin import ORIGIN
from gac_app.services.runs.runs import LiveRun

_logger = logging.getLogger(__name__)


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
        "request_id": run.origin.request_id or None,  # this thread may be another run's
        "run_id": run.id,
        "status": run.status,
        "reasons": sorted({end.reason.value for end in ends}),
        "answers": len(ends),
        "tokens": sum(end.num_decoded for end in ends),
        "seconds": round(time.monotonic() - run.came_at, 3),
    }
    _logger.info("a run ended", extra={"facts": facts})
