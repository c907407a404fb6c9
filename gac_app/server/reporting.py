"""Reports the members' states on the console."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gac_app.services.members import MemberState
    from gac_app.services.runs.runs import RunService

POLL_S = 0.5
FETCHING_S = 5.0  # between log lines about one download
_logger = logging.getLogger(__name__)


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
        words = f"failed: {state.detail}" if state.phase == "failed" else state.words
        if state.notice and state.phase == "fetching" != phase:
            words += f" ({state.notice})"
        _logger.log(logging.ERROR if state.phase == "failed" else logging.INFO, "%s: %s", state.name, words)


def report_members(service: RunService) -> None:
    """Log each member's state, from a thread, until every member is ready or has failed."""
    threading.Thread(target=_report, args=(service,), name="member-report", daemon=True).start()


def _report(service: RunService) -> None:
    log = StateLog()
    pause = threading.Event()
    while True:
        states = service.members.states()
        for state in states:
            log.log(state)
        if all(state.phase in ("ready", "failed") for state in states):
            return
        pause.wait(POLL_S)
