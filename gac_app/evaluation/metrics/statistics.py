"""Confidence intervals for accuracies, and tests of differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# scipy.stats is imported on use: it takes a second, which the page need not wait for.


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of two systems on the same questions. `p`: of the hypothesis that both are equally good."""

    delta: float
    p: float


def wilson_interval(num_right: int, num_questions: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927). Unlike the usual one, it is valid near 0 and 1 and for small samples.

    Example: (5, 10) -> (0.237, 0.763)
    """
    from scipy.stats import binomtest

    low, high = binomtest(num_right, num_questions).proportion_ci(method="wilson")
    return float(low), float(high)


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
    from scipy.stats import binomtest

    num_tosses = num_won + num_lost
    return float(binomtest(min(num_won, num_lost), num_tosses).pvalue) if num_tosses else 1.0
