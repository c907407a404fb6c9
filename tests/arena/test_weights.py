"""What a vote weighs, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gac_app.arena.rating.leaderboard import leaderboard_of
from gac_app.arena.rating.ratings import PRIOR, group_worth_most, is_decided, rate, rate_all, win_probability
from gac_app.arena.rating.votes import VoteFilter
from gac_app.arena.rating.weights import HISTORY, scaled, weights
from tests.arena.samples import Row, row, rows, votes_of


def weighed(*votes: tuple[int, int, int]) -> list[float]:
    """The weight of all votes of each: visitor, address, number of votes."""
    codes = np.repeat(np.arange(len(votes)), [num for *_, num in votes])
    columns = np.array([pair[:2] for pair in votes])[codes]
    found = weights(columns[:, 0], columns[:, 1])
    return np.bincount(codes, found).tolist()


@pytest.mark.parametrize("num", [1, 2, 8, 100_000])
def test_all_votes_of_a_visitor_at_home_are_one(num: int) -> None:
    assert weighed((1, 1, num)) == pytest.approx([1.0])
    assert weighed((1, 1, num), (1, 2, 3 * num)) == pytest.approx([0.25, 0.75]), "nothing is gained by other addresses"


def test_an_address_gains_nothing_by_other_visitors() -> None:
    assert sum(weighed(*[(key, 1, 1) for key in range(223)])) == pytest.approx(1.0)
    assert weighed(*[(key, 1, 5) for key in range(25)], (99, 2, 1))[-1] == pytest.approx(1.0), "strangers are untouched"


def test_empty_keys_do_not_silence_a_class() -> None:
    """Each of 400 keys with a vote weighs a fifth of one that has five."""
    found = weighed(*[(key, 1, 5) for key in range(25)], *[(100 + key, 1, 1) for key in range(400)])
    assert sum(found[:25]) == pytest.approx(125 / (125 + 80))
    assert sum(found) == pytest.approx(1.0)


def test_a_visitor_whose_address_is_unknown_needs_a_history() -> None:
    assert weighed((1, -2, 1), (2, -3, 4), (3, -4, 5), (4, -5, 50)) == pytest.approx([0.2, 0.8, 1.0, 1.0])


def test_equal_weights_are_one_each_and_others_sum_to_fewer() -> None:
    assert scaled(np.full(7, 0.2)).tolist() == pytest.approx([1.0] * 7)
    assert scaled(np.array([1.0, 1.0, 0.0])).sum() == pytest.approx(2.0)
    assert scaled(np.array([])).size == 0


def test_votes_weigh_by_the_votes_that_are_counted() -> None:
    found = [row("a", "b", "left", 1) for _ in range(5)] + [row("a", "b", "left", 2)]
    found += [row("a", "b", "left", 3)._replace(client="home")]
    found += [row("a", "b", "left", 2, flags=["fast"]) for _ in range(9)]
    votes = votes_of(found)
    assert votes.address_N.tolist() == [-2] * 5 + [-3, 0] + [-3] * 9
    assert set(votes.weight_N) == {1.0}
    ratio = votes.filtered(VoteFilter()).weight_N
    assert len(ratio) == 7
    assert ratio[:5].sum() / ratio[5] == pytest.approx(5)
    reference = [one._replace(origin="reference") for one in found]
    assert set(votes_of(reference).filtered(VoteFilter(source="reference")).weight_N) == {1.0}


def crowded(num: int) -> list[Row]:
    """An even arena, and an address from which strangers vote for b."""
    found = rows(("a", "b", 30), ("b", "a", 30), ("a", "c", 40), ("c", "a", 20), ("b", "c", 40), ("c", "b", 20))
    return found + [row("b", "a", "left", 1000 + at)._replace(client="one") for at in range(num)]


def test_the_board_says_what_its_busiest_address_changes() -> None:
    votes = votes_of([*crowded(12), row("a", "b", "left", 999)], "abc")
    board = leaderboard_of(votes.filtered(VoteFilter()), "abc", min_votes=5)
    assert [line.name for line in board.standings] == ["b", "a", "c"]
    assert board.busiest is not None
    assert (board.busiest.num_votes, board.busiest.num_visitors) == (12, 12)
    assert board.busiest.ranks == {"b": 2, "a": 1}
    assert 0 < board.busiest.share < 12 / len(votes)


def test_without_its_busiest_address_votes_are_counted_whole() -> None:
    """Each of c's five votes weighs less than one."""
    found = [row(*pair, "left", at // 5) for at, pair in enumerate([("a", "b")] * 20 + [("b", "a")] * 10)]
    found += [row("a", "c", "left" if at else "right", 100 + at) for at in range(5)]
    found += [row("a", "b", "left", 200 + at)._replace(client="one") for at in range(2)]
    board = leaderboard_of(votes_of(found, "abc").filtered(VoteFilter()), "abc", min_votes=5)
    assert [line.rank is not None for line in board.standings] == [True] * 3
    assert board.busiest is not None
    assert (board.busiest.num_votes, board.busiest.ranks) == (2, {})


def test_without_the_busiest_address_weights_are_new() -> None:
    """Who votes nine times there and once at home has one whole vote at home."""
    found = [row("a", "b", "left", 1)._replace(client="one")] * 9 + [row("b", "a", "left", 1)._replace(client="home")]
    found += [row("a", "b", outcome, 2)._replace(client="other") for outcome in ("left", "tie")]
    board = leaderboard_of(votes_of(found, "ab").filtered(VoteFilter()), "ab", min_votes=2)
    assert [line.name for line in board.standings] == ["a", "b"]
    assert board.busiest is not None
    assert board.busiest.ranks == {"a": 2, "b": 1}


def test_an_address_without_which_nothing_is_rated() -> None:
    found = [row("a", "b", "left" if at % 3 else "right", at)._replace(client="one") for at in range(30)]
    board = leaderboard_of(votes_of(found).filtered(VoteFilter()), "ab", min_votes=5)
    assert board.busiest is not None
    assert board.busiest.ranks == {"a": None, "b": None}
    assert board.busiest.share == pytest.approx(1.0)


def test_where_no_address_is_known_there_is_no_busiest() -> None:
    votes = votes_of(crowded(0)).filtered(VoteFilter())
    assert leaderboard_of(votes, "abc", min_votes=5).busiest is None


def test_the_documentation_tells_the_rule() -> None:
    told = (Path(__file__).parents[2] / "docs" / "arena.md").read_text("utf-8")
    assert f"with n < {HISTORY} votes each count n/{HISTORY}" in told


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
        how = {"weights": wins_CC[winners, losers].tolist(), "tolerance": 1e-12, "limit": 1_000_000}
        names = {"index": pd.RangeIndex(num)}
        fitted = bradley_terry(winners.tolist(), losers.tolist(), [Winner.X] * len(winners), **names, **how)
        logs_C = np.log10(fitted.scores.sort_index().to_numpy())
        assert found_C == pytest.approx(1000 + 400 * (logs_C - logs_C.mean()), abs=0.01)
