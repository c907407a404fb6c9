"""The members' states on the console, for whoever started the server."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gac_app.services.members import MemberState
    from gac_app.services.runs import RunService

POLL_S = 0.5
_logger = logging.getLogger(__name__)


def report_members(service: RunService) -> None:
    """Log each member's state whenever it changes, from a thread, until every member is ready or has failed."""
    threading.Thread(target=_report, args=(service,), name="member-report", daemon=True).start()


def _report(service: RunService) -> None:
    seen: dict[str, str] = {}
    pause = threading.Event()
    while True:
        states = service.member_states()
        for state in states:
            line = describe(state)
            if seen.get(state.name) != line:
                seen[state.name] = line
                _logger.log(logging.ERROR if state.phase == "failed" else logging.INFO, "%s: %s", state.name, line)
        if all(state.phase in ("ready", "failed") for state in states):
            return
        pause.wait(POLL_S)


def describe(state: MemberState) -> str:
    """One line, which changes at every tenth of a download only: `fetching 40 %`, `ready`, `failed: no network`."""
    if state.phase == "fetching":
        percent = f" {int(state.progress * 10) * 10} %" if state.progress is not None else ""
        return f"fetching{percent}" + (f" ({state.notice})" if state.notice else "")
    return f"{state.phase}: {state.detail}" if state.phase == "failed" else state.phase
