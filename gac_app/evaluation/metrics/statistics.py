"""Confidence intervals for accuracies, and tests of differences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

# scipy.stats is imported on use: it takes a second, which the page need not wait for.


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of two systems on the same questions.

    Attributes:
        delta: accuracy of the first minus that of the second.
        p: of the hypothesis that both are equally good, by McNemar's exact test, two-sided. Only questions count that
            one got right and the other wrong. If both were equally good, each of these would be a coin toss.
        interval: the 95 % interval of `delta` (Agresti and Min 2005): Wald's, after half a question is added to each of
            the four cells.
    """

    delta: float
    p: float
    interval: tuple[float, float]

    def is_as_good(self, within: float) -> bool:
        """Whether the first is as good but for a loss of accuracy `within` which nobody minds."""
        return self.interval[0] > -within

    def to_json(self) -> dict[str, float]:
        return {"delta": self.delta, "p": self.p}


def wilson_interval(num_right: int, num_questions: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927). Unlike the usual one, it is valid near 0 and 1 and for small samples.

    Example: (5, 10) -> (0.237, 0.763)
    """
    from scipy.stats import binomtest

    low, high = binomtest(num_right, num_questions).proportion_ci(method="wilson")
    return float(low), float(high)


def compare(is_right: Sequence[bool], others: Sequence[bool]) -> Comparison:
    """The first against the second.

    Example: 15 won, 5 lost of 100 -> delta 0.1, p 0.041, interval (0.012, 0.184)
    """
    from scipy.stats import binomtest

    pairs = Counter(zip(is_right, others, strict=True))
    num_won, num_lost = pairs[True, False], pairs[False, True]
    p = binomtest(num_won, num_won + num_lost).pvalue if num_won + num_lost else 1.0
    num, gap = len(is_right) + 2, num_won - num_lost
    half = _normal(0.975) * math.sqrt(num_won + num_lost + 1 - gap**2 / num) / num
    return Comparison(gap / len(is_right), float(p), (max(gap / num - half, -1.0), min(gap / num + half, 1.0)))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number (Holm 1979), in their order.

    Example: [0.01, 0.04, 0.03] -> [0.03, 0.06, 0.06]
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        least = adjusted[index] = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
    return adjusted


def questions_needed(effect: float, power: float, discordant: float, level: float) -> int:
    """How many questions McNemar's test needs to show a difference of accuracies (Connor 1987).

    Args:
        effect: the difference.
        power: the probability with which it is shown.
        discordant: the share of questions that one system gets right and the other wrong; at least `effect`.
        level: of the two-sided test.

    Example: 3 points at 80 %, a fifth of the questions discordant, level 5 % -> 1742
    """
    found, wanted = _normal(1 - level / 2), _normal(power)
    root = found * math.sqrt(discordant) + wanted * math.sqrt(discordant - effect**2)
    return math.ceil((root / effect) ** 2)


def effect_shown(num_questions: int, power: float, discordant: float, level: float) -> float | None:
    """The smallest difference that so many questions show, to a tenth of a point; None if they show none.

    Args:
        discordant: as above; of a larger effect, the effect itself.
    """
    least_won = math.ceil(math.log2(2 / level))  # with fewer, and none lost, the exact test shows nothing
    effects = (n / 1000 for n in range(max(1, math.ceil(1000 * least_won / num_questions)), 1001))
    enough = (e for e in effects if questions_needed(e, power, max(discordant, e), level) <= num_questions)
    return next(enough, None)


def _normal(share: float) -> float:
    """The standard normal distribution's quantile."""
    return NormalDist().inv_cdf(share)
