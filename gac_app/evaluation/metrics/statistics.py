"""Confidence intervals for accuracies, and tests of differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

_Z_95 = 1.959963984540054  # standard normal, two-sided 95 %


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of two systems on the same questions. `p`: of the hypothesis that both are equally good."""

    delta: float
    p: float


def wilson_interval(num_right: int, num_questions: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927). Unlike the usual one, it is valid near 0 and 1 and for small samples.

    Example: (5, 10) -> (0.237, 0.763)
    """
    share = num_right / num_questions
    z2 = _Z_95**2
    centre = share + z2 / (2 * num_questions)
    margin = _Z_95 * sqrt(share * (1 - share) / num_questions + z2 / (4 * num_questions**2))
    scale = 1 + z2 / num_questions
    return max(0.0, (centre - margin) / scale), min(1.0, (centre + margin) / scale)


def compare(is_right: Sequence[bool], others: Sequence[bool]) -> Comparison:
    """Accuracy of the first minus that of the second, and McNemar's exact test, two-sided.

    Only questions count that one got right and the other wrong. If both were equally good, each of these would be a
    coin toss.
    """
    pairs = list(zip(is_right, others, strict=True))
    num_won = sum(mine and not theirs for mine, theirs in pairs)
    num_lost = sum(theirs and not mine for mine, theirs in pairs)
    return Comparison((num_won - num_lost) / len(pairs), _sign_test(num_won, num_lost))


def _sign_test(num_won: int, num_lost: int) -> float:
    num_tosses = num_won + num_lost
    tail = sum(comb(num_tosses, k) for k in range(min(num_won, num_lost) + 1))
    num_outcomes: int = 2**num_tosses
    return min(1.0, 2 * tail / num_outcomes)
