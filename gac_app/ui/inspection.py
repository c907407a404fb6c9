"""A `StepTrace` -> what the inspector shows, as plain JSON."""

from __future__ import annotations

from typing import Any

from gac_app.config import Settings
from gac_app.decoding.events import Candidate, MemberTrace, StepTrace
from gac_app.ui.spelling import label_of


def describe_step(step: StepTrace, settings: Settings) -> dict[str, Any]:
    """Everything about one step. A candidate's `parts` are weight x prob of each member known to have wanted it."""
    return {
        "position": step.position,
        "label": label_of(step.token),
        "is_end": not step.token,
        "prob": step.prob,
        "confidence": step.gate_confidence,
        "threshold": settings.threshold,
        "mode": settings.mode,
        "gate": settings.gate,
        "is_ensembled": step.is_ensembled,
        "is_forced": step.is_forced,
        "winner": step.winner,
        "top": [_candidate(item, step) | {"parts": _parts(item, step)} for item in step.top],
        "members": [_member(trace, step) for trace in step.members],
        "spellings": {name: [label_of(piece) for piece in pieces] for name, pieces in step.spellings.items()},
        "dropped": list(step.dropped),
    }


def _candidate(item: Candidate, step: StepTrace) -> dict[str, Any]:
    return {
        "id": item.token_id,
        "label": label_of(item.token),
        "is_end": not item.token,
        "prob": item.prob,
        "is_chosen": item.token_id == step.token_id,
    }


def _parts(item: Candidate, step: StepTrace) -> list[dict[str, Any]]:
    parts = []
    for trace in step.members:
        prob = _prob_of(item, trace, step)
        if prob is not None:
            parts.append({"member": trace.member, "prob": trace.weight * prob})
    return parts


def _prob_of(item: Candidate, trace: MemberTrace, step: StepTrace) -> float | None:
    if item.token_id == step.token_id:
        return trace.prob
    return next((other.prob for other in trace.top if other.token_id == item.token_id), None)


def _member(trace: MemberTrace, step: StepTrace) -> dict[str, Any]:
    return {
        "name": trace.member,
        "weight": trace.weight,
        "prob": trace.prob,
        "rank": trace.rank,
        "num_read": trace.num_read,
        "ms": trace.seconds * 1000,
        "top": [_candidate(item, step) for item in trace.top],
    }
