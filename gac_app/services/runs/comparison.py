"""Compares a repeated run's answer with the earlier one, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gac_app.decoding.trace import StepOutline, round_float

if TYPE_CHECKING:
    from gac_app.services.runs.views import StreamView


@dataclass(frozen=True, slots=True)
class Comparison:
    """How an answer differs from the earlier one.

    Attributes:
        digests: "unknown" if one of the answers has none.
        num_same: number of equal tokens at the start.
        tokens: the next token of each, earlier and now; None for an answer that has ended. None if both have ended.
        probs_from: the first position among the equal tokens whose probabilities differ in six digits.
        most: the largest of these differences.
    """

    digests: Literal["equal", "different", "unknown"]
    num_same: int
    tokens: tuple[bytes | None, bytes | None] | None = None
    probs_from: int | None = None
    most: float = 0.0


def compare(
    before: Sequence[StepOutline], now: Sequence[StepOutline], digest_before: str, digest_now: str
) -> Comparison:
    """Compare two answers by their tokens, with the probability and the gate's confidence at each.

    Probabilities are compared in the six digits that storage keeps, so that it does not matter which answer was stored.
    """
    pairs = list(zip(before, now, strict=False))
    num_same = next((at for at, (old, new) in enumerate(pairs) if old.token != new.token), len(pairs))
    tokens = (_token_at(before, num_same), _token_at(now, num_same))
    gaps = [_gap(*pair) for pair in pairs[:num_same]]
    return Comparison(
        digests="different" if digest_before and digest_now else "unknown",
        num_same=num_same,
        tokens=None if tokens == (None, None) else tokens,
        probs_from=next((at for at, gap in enumerate(gaps) if gap), None),
        most=max(gaps, default=0.0),
    )


def compare_streams(before: StreamView, now: StreamView) -> Comparison | None:
    """Compare two finished answers, by their digests or, if these differ or are missing, by their steps; None if their
    messages differ or one has no tokens.
    """
    old, new = before.finished, now.finished
    if before.messages != now.messages or not (old and old.num_tokens and new and new.num_tokens):
        return None
    if old.digest and old.digest == new.digest:
        return Comparison("equal", new.num_tokens)
    return compare(before.outline, now.outline, old.digest, new.digest)


def _token_at(steps: Sequence[StepOutline], position: int) -> bytes | None:
    return steps[position].token if position < len(steps) else None


def _gap(before: StepOutline, now: StepOutline) -> float:
    """The largest difference of their probabilities; 0 if they agree in six digits."""
    old, new = (before.prob, before.gate_confidence), (now.prob, now.gate_confidence)
    if old == new:
        return 0.0
    return max(abs(round_float(one) - round_float(other)) for one, other in zip(old, new, strict=True))
