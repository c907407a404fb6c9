"""Gates on pairs, from readings alone: how few pieces of the texts need both members.

A piece lies between two places where both members' tokens end. The gate reads it alone where its confidence is at least
the threshold.

Shape suffixes: `S` pieces, `W` weights of the gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gac_app.evaluation.registered.pair_figures import piece_bits, shared_places
from gac_app.evaluation.registered.readings import Reading, Readings

KEPT = 0.9  # of the bits that every step saves, by the threshold chosen
THRESHOLDS = tuple(twentieths / 20 for twentieths in range(1, 22))  # above 1: every step
GATES: Mapping[str, Callable[[Reading, int], float]] = {
    "max-prob": lambda gate, place: gate.likely[place][0].prob,
    "margin": lambda gate, place: gate.likely[place][0].prob - gate.likely[place][1].prob,
    "entropy": lambda gate, place: gate.sureness[place],
}


@dataclass(frozen=True, slots=True, eq=False)
class GatedPieces:
    """All pieces of a task's half: the gate's confidence by each rule, its bits, and what the mixtures save of them."""

    confidence_S: Mapping[str, np.ndarray]
    alone_S: np.ndarray
    saved_SW: np.ndarray


class AtThreshold(NamedTuple):
    """Shares: of the pieces that need both members, and of the bits saved by every step that are kept."""

    threshold: float
    ensembled: float
    kept: float


@dataclass(frozen=True, slots=True)
class Gated:
    """One rule on the held-out questions of one task.

    Attributes:
        weight: of the gate.
        saved: by every step, a share of the gate's bits.
        own, common: at the threshold of this task's development questions, and at that of all tasks together.
    """

    task: str
    rule: str
    weight: float
    saved: float
    own: AtThreshold
    common: AtThreshold


def gated_pieces(
    read: Sequence[Readings], rights: Sequence[int], names: tuple[str, str], weights: Sequence[float]
) -> GatedPieces:
    """Args: names: the gate, and the other. weights: of the gate."""
    confidence: dict[str, list[float]] = {rule: [] for rule in GATES}
    alone, mixed = [], []
    for of_all, right in zip(read, rights, strict=True):
        gate, other = (of_all[name][right] for name in names)
        places = shared_places(gate, other)
        for rule, of_gate in GATES.items():
            # At a boundary that the gate's tokeniser would not have made it cannot overrule the other.
            confidence[rule] += [of_gate(gate, place) if place in gate.likely else -1.0 for place in places[:-1]]
        alone.append(-np.diff([gate.log_probs[place] for place in places]) / np.log(2))
        mixed.append(piece_bits(gate, other, np.array(weights)).T)
    alone_S = np.concatenate(alone)
    return GatedPieces(
        {rule: np.array(found) for rule, found in confidence.items()}, alone_S, alone_S[:, None] - np.concatenate(mixed)
    )


def judged_gates(
    first: Mapping[str, GatedPieces], last: Mapping[str, GatedPieces], weights: Sequence[float]
) -> list[Gated]:
    """Each rule on each task whose development questions gain by every step.

    Args:
        first, last: the development and the held-out questions, by task.
    """
    at = {task: int(pieces.saved_SW.sum(0).argmax()) for task, pieces in first.items()}
    gaining = [task for task, pieces in first.items() if pieces.saved_SW[:, at[task]].sum() > 0]
    found = []
    for rule in GATES:
        kept = {task: [_at(first[task], at[task], rule, t).kept for t in THRESHOLDS] for task in gaining}
        common = _least([float(np.mean(of_tasks)) for of_tasks in zip(*kept.values(), strict=True)])
        for task in gaining:
            pieces, weight_at = last[task], at[task]
            found.append(
                Gated(
                    task,
                    rule,
                    weights[weight_at],
                    float(pieces.saved_SW[:, weight_at].sum() / pieces.alone_S.sum()),
                    _at(pieces, weight_at, rule, _least(kept[task])),
                    _at(pieces, weight_at, rule, common),
                )
            )
    return found


def _least(kept: Sequence[float]) -> float:
    """The least threshold that keeps enough; the largest if none does."""
    return next((t for t, share in zip(THRESHOLDS, kept, strict=True) if share >= KEPT), THRESHOLDS[-1])


def _at(pieces: GatedPieces, weight_at: int, rule: str, threshold: float) -> AtThreshold:
    is_open_S, saved_S = pieces.confidence_S[rule] < threshold, pieces.saved_SW[:, weight_at]
    return AtThreshold(threshold, float(is_open_S.mean()), float(saved_S[is_open_S].sum() / saved_S.sum()))
