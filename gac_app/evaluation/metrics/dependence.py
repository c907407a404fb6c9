"""Whether a figure of pairs depends on another one. Loads numpy.

Pairs of the same members are not independent of each other, so the test permutes the members (Mantel 1967).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_NUM_PERMUTATIONS = 9999

ByPair = Mapping[tuple[str, str], float]


def rank_correlation(of_pairs: ByPair, others: ByPair) -> tuple[float, float]:
    """Spearman's correlation of two figures of the same pairs, and the two-sided p of its being zero.

    Args:
        of_pairs, others: of every two members, by their names in the same order.

    Returns:
        0 and 1 where one of the figures is the same for all pairs.
    """
    members = list(dict.fromkeys(name for pair in of_pairs for name in pair))
    upper = np.triu_indices(len(members), 1)
    ours_MM, others_MM = _ranks(of_pairs, members), _ranks(others, members)
    ours_P, found = ours_MM[upper], _correlation(ours_MM[upper], others_MM[upper])
    random = np.random.default_rng(0)
    orders = (random.permutation(len(members)) for _ in range(_NUM_PERMUTATIONS))
    by_chance = [_correlation(ours_P, others_MM[np.ix_(order, order)][upper]) for order in orders]
    num_as_far = int((np.abs(by_chance) >= abs(found) - 1e-12).sum())
    return found, (num_as_far + 1) / (_NUM_PERMUTATIONS + 1)


def partial_correlation(one: float, with_third: float, other_with_third: float) -> float:
    """The correlation of two figures at equal values of a third, from the three correlations."""
    rest = (1 - with_third**2) * (1 - other_with_third**2)
    return (one - with_third * other_with_third) / float(np.sqrt(rest)) if rest > 0 else 0.0


def _ranks(of_pairs: ByPair, members: list[str]) -> np.ndarray:
    """Ranks, of equals their mean, as a symmetric matrix."""
    from scipy.stats import rankdata

    at = {name: index for index, name in enumerate(members)}
    ranks_MM = np.zeros((len(members), len(members)))
    for (first, second), rank in zip(of_pairs, rankdata(list(of_pairs.values())), strict=True):
        ranks_MM[at[first], at[second]] = ranks_MM[at[second], at[first]] = rank
    return ranks_MM


def _correlation(ours_P: np.ndarray, others_P: np.ndarray) -> float:
    ours_P, others_P = ours_P - ours_P.mean(), others_P - others_P.mean()
    size = float(np.sqrt((ours_P**2).sum() * (others_P**2).sum()))
    return float((ours_P * others_P).sum()) / size if size else 0.0
