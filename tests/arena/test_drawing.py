from __future__ import annotations

import random
from collections import Counter
from itertools import combinations

import pytest

from gac_app.arena.drawing import AGAIN, FLOOR, draw_pair, pair_probs, predicted

NAMES = ["a", "b", "c", "d"]


def test_pairs_are_alike_where_nothing_is_known() -> None:
    probs = pair_probs(NAMES, {}, {})
    assert probs == pytest.approx(dict.fromkeys(combinations(NAMES, 2), 1 / 6))


def test_few_votes_and_close_ratings_come_first() -> None:
    num_votes = {frozenset(pair): 50 for pair in combinations(NAMES, 2)} | {frozenset("ab"): 5}
    probs = pair_probs(NAMES, num_votes, {"a": 1000, "b": 1000, "c": 1010, "d": 1800})
    assert max(probs, key=probs.__getitem__) == ("a", "b")
    assert probs["a", "c"] > probs["a", "d"]
    assert min(probs.values()) >= FLOOR / 6
    assert sum(probs.values()) == pytest.approx(1)


def test_weights_hold_for_all_draws() -> None:
    votes = {frozenset("cd"): 50}
    plain, found = pair_probs(NAMES, votes, {}), pair_probs(NAMES, votes, {}, {"a": 0.5, "d": 0.1, "e": 9.0})
    weighed = {
        (left, right): prob * {"a": 0.5}.get(left, 1.0) * {"d": 0.1}.get(right, 1.0)
        for (left, right), prob in plain.items()
    }
    assert found == pytest.approx({pair: prob / sum(weighed.values()) for pair, prob in weighed.items()})


def test_a_newcomer_is_expected_to_be_as_good_as_the_mean() -> None:
    ratings = {"a": 1000.0, "b": 1400.0}
    assert predicted("a", "new", ratings) == predicted("a", "c", {**ratings, "c": 1200.0}) < 0.5
    assert predicted("new", "a", ratings) == pytest.approx(1 - predicted("a", "new", ratings))
    assert predicted("new", "newer", ratings) == predicted("new", "newer", {}) == 0.5


def test_the_draw_evens_the_votes_out() -> None:
    rng = random.Random(1)
    num_votes: Counter[frozenset[str]] = Counter({frozenset("ab"): 30})
    for _ in range(300):
        num_votes[frozenset(draw_pair(pair_probs(NAMES, num_votes, {}), set(), rng))] += 1
    assert min(num_votes.values()) > 40


def test_the_present_pair_comes_again_but_seldom() -> None:
    rng, num = random.Random(1), 5_000
    drawn = Counter(frozenset(draw_pair(pair_probs(NAMES, {}, {}), set("ab"), rng)) for _ in range(num))
    shares = {pair: count / num for pair, count in drawn.items()}
    weights = {frozenset(pair): 1.0 for pair in combinations(NAMES, 2)} | {frozenset("ab"): AGAIN}
    assert shares == pytest.approx({pair: one / sum(weights.values()) for pair, one in weights.items()}, abs=0.03)
    two = pair_probs(NAMES[:2], {}, {})
    assert {draw_pair(two, set("ab"), rng) for _ in range(50)} == {("a", "b"), ("b", "a")}
