"""Compares a repeated run's answer with the earlier one, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gac_app.decoding.trace import StepTrace, TokenEvent, round_float

if TYPE_CHECKING:
    from gac_app.services.views import StreamView

Probs = dict[tuple[str, str, bytes], float]


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


def compare(before: Sequence[TokenEvent], now: Sequence[TokenEvent], digest_before: str, digest_now: str) -> Comparison:
    """Compare two answers by their digests or, if these differ or are missing, by their steps.

    Probabilities are compared in the six digits that storage keeps, so that it does not matter which answer was stored.
    """
    if digest_before and digest_before == digest_now:
        return Comparison("equal", len(now))
    pairs = [(old.step, new.step) for old, new in zip(before, now, strict=False)]
    num_same = next((at for at, (old, new) in enumerate(pairs) if old.token != new.token), len(pairs))
    tokens = (_token_at(before, num_same), _token_at(now, num_same))
    gaps = [_gap(*pair) for pair in pairs[:num_same]]
    return Comparison(
        digests="different" if digest_before and digest_now else "unknown",
        num_same=num_same,
        tokens=None if tokens == (None, None) else tokens,
        probs_from=next((at for at, gap in enumerate(gaps) if gap is not None), None),
        most=max((gap for gap in gaps if gap is not None), default=0.0),
    )


def compare_streams(before: StreamView, now: StreamView) -> Comparison | None:
    """Compare two finished answers; None if their messages differ or one has no tokens."""
    if before.messages != now.messages or before.finished is None or now.finished is None:
        return None
    old, new = ([event for event in stream.events if isinstance(event, TokenEvent)] for stream in (before, now))
    return compare(old, new, before.finished.digest, now.finished.digest) if old and new else None


def _token_at(events: Sequence[TokenEvent], position: int) -> bytes | None:
    return events[position].step.token if position < len(events) else None


def _gap(before: StepTrace, now: StepTrace) -> float | None:
    """The largest difference of the probabilities that both steps have; None if they agree in six digits."""
    old, new = _probs(before), _probs(now)
    if old == new:
        return None
    old, new = ({key: round_float(prob) for key, prob in probs.items()} for probs in (old, new))
    return None if old == new else max(abs(old[key] - new[key]) for key in old.keys() & new.keys())


def _probs(step: StepTrace) -> Probs:
    """All probabilities of a step, by member, kind and token."""
    probs: Probs = {("", "token", b""): step.prob, ("", "gate", b""): step.gate_confidence}
    probs |= {("", "top", candidate.token): candidate.prob for candidate in step.top}
    for member in step.members:
        probs |= {(member.member, "weight", b""): member.weight, (member.member, "token", b""): member.prob}
        probs |= {(member.member, "top", candidate.token): candidate.prob for candidate in member.top}
    return probs
