"""The other turns of the conversation on the board, as JSON for the list above the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gac_app.services.runs.runs import RunView
from gac_app.services.runs.views import ENSEMBLE
from gac_app.ui.requests import page_json

MAX_TURNS_SHOWN = 50


def whole_turns(run: RunView) -> list[dict[str, Any]]:
    """The turns before a run, to be kept with it: every answer by the key of its stream, and why it was cut off."""
    return [{"prompt": turn.prompt, "answers": turn.answers, "cut": turn.cut} for turn in run.turns]


def versions_of(run: RunView, runs: Sequence[RunView]) -> list[str]:
    """The ids of all answers to a run's turn, oldest first; none of one that is not in its conversation.

    Args:
        runs: the conversation's runs, in order.
    """
    return [other.id for other in runs if other.turn_ids == run.turn_ids]


def last_turn(run: RunView, runs: Sequence[RunView]) -> RunView:
    """The newest run that continues a run, or itself: what the next prompt continues."""
    return next((other for other in reversed(runs) if run.id in other.turn_ids), run)


def turns_beside(run: RunView, runs: Sequence[RunView]) -> str:
    """The turns before a run; first, the number of deleted ones, if any.

    If the run has later turns, all turns up to the newest, with the run marked `is_shown`.

    Args:
        runs: the conversation's runs, in order.
    """
    newest = last_turn(run, runs)
    lineage = newest.turns if newest is run else (*newest.turns, newest.as_turn())
    turns: list[dict[str, Any]] = [
        {
            "id": turn.run_id if run.is_own else "",  # others cannot open it
            "prompt": turn.prompt,
            "answer": turn.answers.get(ENSEMBLE, ""),
            "is_shown": turn.run_id == run.id,
        }
        for turn in lineage[-MAX_TURNS_SHOWN:]
    ]
    if newest.num_deleted_turns:
        turns.insert(0, {"deleted": newest.num_deleted_turns})
    return page_json(turns)
