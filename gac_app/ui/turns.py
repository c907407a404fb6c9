"""The turns of a conversation beside the one on the board, as JSON for the list above the answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gac_app.services.views import ENSEMBLE

if TYPE_CHECKING:
    from gac_app.services.runs import RunView

MAX_TURNS_SHOWN = 50


def turns_beside(run: RunView, runs: list[RunView]) -> str:
    """The turns that a run goes on from; where later ones came, all of them, this one marked `is_shown`.

    Args:
        runs: of the conversation, in order.
    """
    is_newest = not runs or runs[-1].id == run.id or run.id not in [other.id for other in runs]
    lineage = _lineage([other for other in runs if other.id != run.id] + [run]) if is_newest else _lineage(runs)
    turns = [
        {"id": turn.id, "prompt": turn.prompt, "answer": _answer(turn), "is_shown": turn.id == run.id}
        for turn in (lineage[:-1] if is_newest else lineage)
    ]
    return json.dumps(turns[-MAX_TURNS_SHOWN:]).replace("<", "\\u003c")


def _lineage(runs: list[RunView]) -> list[RunView]:
    """The turns that the last of `runs` goes on from, itself included.

    A branch takes the place of the turn it left, and what came after that turn is none of its past.
    """
    lineage: list[RunView] = []
    place: dict[str | None, int] = {}
    for turn in runs:
        place[turn.id] = place.get(turn.parent_run_id, len(lineage))
        lineage[place[turn.id] :] = [turn]
    return lineage


def _answer(run: RunView) -> str:
    stream = run.streams.get(ENSEMBLE)
    return stream.finished.text if stream is not None and stream.finished else ""
