"""Compares a repeated run's answer with the earlier one, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gac_app.decoding.trace import StepOutline, round_float
from gac_app.services.runs.views import StreamView


@dataclass(frozen=True, slots=True)
class Comparison:
    """How an answer differs from the earlier one.

    Attributes:
        digests: "unknown" if one of the answers has none.
        num_same: number of equal tokens at the start.
        tokens: the next token of each, the old answer's first; None for one that has ended. None if both have ended.
        probs_from: the first position among the equal tokens whose probabilities differ in six digits.
        most: the largest of these differences.
    """

    digests: Literal["equal", "different", "unknown"]
    num_same: int
    tokens: tuple[bytes | None, bytes | None] | None = None
    probs_from: int | None = None
    most: float = 0.0


def compare(old: Sequence[StepOutline], new: Sequence[StepOutline], old_digest: str, new_digest: str) -> Comparison:
    """Compare two answers by their tokens, with the probability and the gate's confidence at each.

    Probabilities are compared in the six digits that storage keeps, so that it does not matter which answer was stored.
    """
    pairs = list(zip(old, new, strict=False))
    num_same = next((at for at, (one, other) in enumerate(pairs) if one.token != other.token), len(pairs))
    tokens = (_token_at(old, num_same), _token_at(new, num_same))
    gaps = [_gap(*pair) for pair in pairs[:num_same]]
    return Comparison(
        digests="different" if old_digest and new_digest else "unknown",
        num_same=num_same,
        tokens=None if tokens == (None, None) else tokens,
        probs_from=next((at for at, gap in enumerate(gaps) if gap), None),
        most=max(gaps, default=0.0),
    )


def compare_streams(old: StreamView, new: StreamView) -> Comparison | None:
    """Compare two finished answers, by their digests or, if these differ or are missing, by their steps; None if their
    messages differ or one has no tokens.
    """
    old_end, new_end = old.finished, new.finished
    if old.messages != new.messages or not (old_end and old_end.num_tokens and new_end and new_end.num_tokens):
        return None
    if old_end.digest and old_end.digest == new_end.digest:
        return Comparison("equal", new_end.num_tokens)
    # Of replayed steps a digest counts only the tokens, so that it differs from the whole answer's.
    old_digest = "" if old_end.num_replayed or new_end.num_replayed else old_end.digest
    return compare(old.outline, new.outline, old_digest, new_end.digest)


def _token_at(steps: Sequence[StepOutline], position: int) -> bytes | None:
    return steps[position].token if position < len(steps) else None


def _gap(old: StepOutline, new: StepOutline) -> float:
    """The largest difference of their probabilities; 0 if they agree in six digits."""
    pairs = (old.prob, new.prob), (old.gate_confidence, new.gate_confidence)
    return max(0.0 if one == other else abs(round_float(one) - round_float(other)) for one, other in pairs)
