"""A `StepTrace` -> the inspector's data, as plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gac_app.decoding.rules import LinearRule, combine_rules, weight_rules
from gac_app.decoding.trace import Candidate, MemberTrace, StepTrace
from gac_app.settings import Settings
from gac_app.ui.compare.covering import character_of, describe_covers
from gac_app.ui.compare.spelling import label_of
from gac_app.ui.requests import same

_ROUNDING = 1e-5  # of a sum of stored probabilities


def describe_step(steps: Sequence[StepTrace], position: int, settings: Settings) -> dict[str, Any]:
    """Everything about one step of an answer, with facts from the steps around it.

    A candidate's `parts` are weight x prob of each member that has it in its top-k. They are scaled to the candidate's
    probability if they do not add up to it, as with a rule that is not linear. `is_longer` marks a likely token that
    begins with the chosen partial token.
    """
    step = steps[position]
    return {
        **same(step, "position", "prob", "winner", "drawn", "is_ensembled", "is_forced", "is_partial", "is_drafted"),
        **same(settings, "mode", "threshold"),
        "gate": step.members[0].member if settings.gate in step.dropped else settings.gate,  # the next one in its place
        "label": label_of(step.token),
        "is_end": not step.token,
        "confidence": step.gate_confidence,
        "drafted_by": None if step.drafted_by is None else list(step.drafted_by),
        "character": character_of(steps, position),
        "weights_follow": _weights_follow(steps, position, settings),
        "top": [
            _candidate(item, step) | {"parts": _parts(item, step, settings)} for item in _with_chosen(step.top, step)
        ],
        "members": [_member(trace, step) for trace in step.members],
        "covers": describe_covers(steps, position),
        "dropped": list(step.dropped),
    }


def _weights_follow(steps: Sequence[StepTrace], position: int, settings: Settings) -> str | None:
    """What changes the weights at a step: the "text" so far, the "stretch" that members cut differently, or nothing."""
    name = settings.weights
    if isinstance(name, str) and name in weight_rules and weight_rules[name]().memory is not None:
        return "text"
    before = steps[position - 1] if position else None  # a step that the gate decides alone ends a stretch
    return "stretch" if before and before.is_ensembled and before.is_partial else None


def _with_chosen(top: Sequence[Candidate], step: StepTrace, prob: float | None = None) -> list[Candidate]:
    """The candidates, likeliest first, always including the chosen one.

    Args:
        prob: of the chosen one, if it is not the step's.
    """
    chosen = Candidate(step.token_id, step.token, step.prob if prob is None else prob)
    others = [item for item in top if item.token_id != step.token_id]
    return sorted([chosen, *others], key=lambda item: -item.prob)


def _candidate(item: Candidate, step: StepTrace) -> dict[str, Any]:
    return {
        "id": item.token_id,
        "label": label_of(item.token),
        "is_end": not item.token,
        "prob": item.prob,
        "is_chosen": item.token_id == step.token_id,
    }


def _parts(item: Candidate, step: StepTrace, settings: Settings) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for trace in step.members:
        prob = _prob_of(item, trace, step)
        if prob is not None:
            parts.append({"member": trace.member, "prob": trace.weight * prob})
    total = sum(part["prob"] for part in parts)
    if len(step.members) > 1 and not _is_linear(settings) and total > 0:
        parts = [{**part, "prob": part["prob"] * item.prob / total} for part in parts]
    return parts


def _is_linear(settings: Settings) -> bool:
    return settings.combine in combine_rules and issubclass(combine_rules[settings.combine], LinearRule)


def _prob_of(item: Candidate, trace: MemberTrace, step: StepTrace) -> float | None:
    if item.token_id == step.token_id:
        return trace.prob
    return next((other.prob for other in trace.top if other.token_id == item.token_id), None)


def _member(trace: MemberTrace, step: StepTrace) -> dict[str, Any]:
    ranked = _with_chosen(trace.top, step, trace.prob)
    longer = [item for item in ranked if _is_longer(item, step)]
    others = [item for item in ranked if item not in longer]
    at = next(index for index, item in enumerate(others) if item.token_id == step.token_id)
    # Tokens that begin with the partial token are listed below it.
    shown = [*others[: at + 1], *longer, *others[at + 1 :]]
    return {
        "name": trace.member,
        **same(trace, "weight", "prob", "rank", "num_read", "num_told", "missing"),
        "includes_longer": _includes_longer(trace, longer, step),
        "ms": trace.seconds * 1000,
        "top": [_candidate(item, step) | {"is_longer": item in longer} for item in shown],
    }


def _includes_longer(trace: MemberTrace, longer: list[Candidate], step: StepTrace) -> bool:
    """Whether the member's probability of the token includes longer tokens that begin with it."""
    own = next((item.prob for item in trace.top if item.token_id == step.token_id), 0.0)
    return bool(longer) and trace.prob >= own + sum(item.prob for item in longer) - _ROUNDING


def _is_longer(item: Candidate, step: StepTrace) -> bool:
    return step.is_partial and item.token_id != step.token_id and item.token.startswith(step.token)
