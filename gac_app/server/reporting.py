"""Reports the members' states on the console."""

from __future__ import annotations

import logging
import time

from gac_app.services.members import MemberState

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
        words = (
            f"{state.phase}: {state.detail}" if state.phase in ("failed", "waiting") and state.detail else state.words
        )
        if state.notice and state.phase == "fetching" != phase:
            words += f" ({state.notice})"
        _logger.log(logging.ERROR if state.phase == "failed" else logging.INFO, "%s: %s", state.name, words)
