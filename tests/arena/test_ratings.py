"""Ratings against published and hand-worked examples."""

from __future__ import annotations

import numpy as np
import pytest

from gac_app.arena.rating.ratings import PRIOR, group_worth_most, is_decided, rate, rate_all, win_probability
from tests.arena.samples import rows, votes_of


def test_the_example_of_arena_rank() -> None:
    """Its own test: 22 games of the worked example in Wikipedia's article on the Bradley-Terry model."""
    games = rows(("A", "B", 2), ("B", "A", 3), ("A", "D", 1), ("D", "A", 4))
    games += rows(("B", "C", 5), ("C", "B", 3), ("C", "D", 1), ("D", "C", 3))
    found = rate(votes_of(games, "ABCD").wins_CC())
    published = 1000 + 400 * np.log10([0.640, 1.043, 0.660, 2.270])
    assert found == pytest.approx(published - published.mean() + 1000, abs=1)
    assert win_probability(found[0], found[1]) == pytest.approx(0.640 / (0.640 + 1.043), abs=0.002)


def test_groups_and_decided() -> None:
    apart = votes_of(rows(("a", "b", 1), ("c", "d", 1)), "abcd").wins_CC()
    assert group_worth_most(apart, np.array([1.0, 1, 0, 3])).tolist() == [False, False, True, True]
    chain = votes_of(rows(("a", "b", 1), ("b", "c", 1)), "abc").wins_CC()
    assert (group_worth_most(chain, np.ones(3)).all(), is_decided(chain[None])[0]) == (True, False)
    circle = votes_of(rows(("a", "b", 1), ("b", "c", 1), ("c", "a", 1)), "abc").wins_CC()
    assert is_decided(circle[None])[0]
    assert rate(circle) == pytest.approx([1000] * 3)


@pytest.mark.parametrize("num", [2, 5, 12])
def test_ratings_are_those_of_evalica(num: int) -> None:
    """Tables with few and with many votes, close and one-sided ones, all rated at once."""
    import pandas as pd  # here, since every process of a parallel run imports this file
    from evalica import Winner, bradley_terry

    rng = np.random.default_rng(num)
    tables_BCC = np.stack([rng.poisson(10.0 ** rng.uniform(-1, 4, (num, num))) for _ in range(20)]).astype(float)
    tables_BCC *= 1 - np.eye(num)
    for wins_CC, found_C in zip(tables_BCC, rate_all(tables_BCC), strict=True):
        if not is_decided(wins_CC[None])[0]:
            wins_CC = wins_CC + PRIOR * (1 - np.eye(num))
        winners, losers = np.nonzero(wins_CC)
        fitted = bradley_terry(
            winners.tolist(),
            losers.tolist(),
            [Winner.X] * len(winners),
            index=pd.RangeIndex(num),
            weights=wins_CC[winners, losers].tolist(),
            tolerance=1e-12,
            limit=1_000_000,
        )
        logs_C = np.log10(fitted.scores.sort_index().to_numpy())
        assert found_C == pytest.approx(1000 + 400 * (logs_C - logs_C.mean()), abs=0.01)
