"""What a vote weighs, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gac_app.arena.rating.leaderboard import leaderboard_of
from gac_app.arena.rating.votes import VoteFilter
from gac_app.arena.rating.weights import HISTORY, OF_ONE_ADDRESS, OF_ONE_VISITOR, scaled, weights
from tests.arena.samples import Row, row, rows, votes_of


def total(*votes: tuple[int, int, int]) -> float:
    """The weight of all. Each: visitor, address, number of votes."""
    columns = np.repeat(np.array([pair[:2] for pair in votes]), [num for *_, num in votes], axis=0)
    return float(weights(columns[:, 0], columns[:, 1]).sum())


@pytest.mark.parametrize(
    ("num", "expected"),
    [(1, 0.2), (2, 2 * 0.4 / 1.1), (5, 5 / 1.4), (11, 5.5), (20, 20 / 2.9), (223, 223 / 23.2)],
)
def test_the_votes_of_one_visitor(num: int, expected: float) -> None:
    assert total((1, 1, num)) == pytest.approx(expected)


def test_all_votes_of_a_visitor_are_fewer_than_ten() -> None:
    assert 9.99 < total((1, 1, 100_000)) < 10


def test_a_visitor_gains_nothing_by_other_addresses() -> None:
    assert total((1, 1, 5), (1, 2, 5)) == pytest.approx(total((1, 1, 10)))


def test_fresh_keys_at_one_address_are_as_one_vote() -> None:
    assert total(*[(key, 1, 1) for key in range(223)]) == pytest.approx(223 * 0.2 / 89.8)
    assert total(*[(key, 1, 1) for key in range(100_000)]) < 1.0


def test_a_class_of_25_counts_as_two_visitors_at_home() -> None:
    assert total(*[(key, 1, 5) for key in range(25)]) == pytest.approx(25 / 10.6 * total((1, 1, 5)))


def test_strangers_do_not_touch_each_other() -> None:
    assert total((1, 1, 5), (2, 2, 5), (3, 3, 1)) == pytest.approx(2 * total((1, 1, 5)) + 0.2)


def test_equal_weights_are_one_each_and_others_sum_to_fewer() -> None:
    assert scaled(np.full(7, 0.2)).tolist() == pytest.approx([1.0] * 7)
    assert scaled(np.array([1.0, 1.0, 0.0])).sum() == pytest.approx(2.0)
    assert scaled(np.array([])).size == 0


def test_votes_weigh_by_the_votes_that_are_counted() -> None:
    found = [row("a", "b", "left", 1) for _ in range(5)] + [row("a", "b", "left", 2)]
    found += [row("a", "b", "left", 3)._replace(client="home"), row("a", "b", "left", 4, flags=["fast"])]
    votes = votes_of(found)
    assert votes.address_N.tolist() == [-2] * 5 + [-3, 1, -5]
    assert votes.weight_N.tolist() == [1.0] * 8
    ratio = votes.filtered(VoteFilter()).weight_N
    assert len(ratio) == 7
    assert ratio[0] / ratio[5] == pytest.approx(5 / 1.4)
    reference = [one._replace(origin="reference") for one in found]
    assert set(votes_of(reference).filtered(VoteFilter(source="reference")).weight_N) == {1.0}


def crowded(num: int) -> list[Row]:
    """An even arena, and an address from which strangers vote for b."""
    found = rows(("a", "b", 30), ("b", "a", 30), ("a", "c", 40), ("c", "a", 20), ("b", "c", 40), ("c", "b", 20))
    return found + [row("b", "a", "left", 1000 + at)._replace(client="one") for at in range(num)]


def test_the_board_says_what_its_busiest_address_changes() -> None:
    votes = votes_of([*crowded(12), row("a", "b", "left", 999)._replace(client="two")], "abc")
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
    assert f"| the votes of one visitor | {OF_ONE_VISITOR} | {1 / OF_ONE_VISITOR:g} votes |" in told
    assert f"| the visitors of one address on one day | {OF_ONE_ADDRESS} | {1 / OF_ONE_ADDRESS:g} visitors |" in told
    assert f"n < {HISTORY} votes has no history yet: each vote counts n/{HISTORY}." in told
