"""Draws the next pair: preferably the pair whose vote tells most, with a floor for every pair."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import combinations

from gac_app.arena.rating.ratings import win_probability

FLOOR = 0.2  # share of draws that are uniform over all pairs
AGAIN = 0.2  # how much less likely a pair is drawn that has just answered the prompt

Pair = tuple[str, str]


def pair_probs(
    names: Sequence[str],
    num_votes: Mapping[frozenset[str], int],
    ratings: Mapping[str, float],
    weights: Mapping[str, float] | None = None,
) -> dict[Pair, float]:
    """Each pair's probability to be drawn; they sum to 1.

    A vote's outcome has the variance p(1 - p); the mean of a pair's n votes has p(1 - p)/n. One more vote reduces that
    the most for pairs with few votes and close ratings.

    Args:
        num_votes: by pair; missing = none.
        ratings: Elo; missing = the mean.
        weights: of contestants; a pair is drawn in proportion to their product. Missing = 1. Where
            no pair is left, they do not count.
    """
    pairs = list(combinations(names, 2))
    gains = []
    for left, right in pairs:
        prob = predicted(left, right, ratings)
        num = num_votes.get(frozenset((left, right)), 0) + 1
        gains.append(prob * (1 - prob) / (num * (num + 1)))
    total = sum(gains)
    probs = {pair: FLOOR / len(pairs) + (1 - FLOOR) * gain / total for pair, gain in zip(pairs, gains, strict=True)}
    weighed = {pair: prob * math.prod((weights or {}).get(name, 1.0) for name in pair) for pair, prob in probs.items()}
    total = sum(weighed.values())
    return {pair: prob / total for pair, prob in weighed.items()} if total else probs


def predicted(left: str, right: str, ratings: Mapping[str, float]) -> float:
    """The left side's expected score. A contestant without a rating has the mean."""
    mean = sum(ratings.values()) / len(ratings) if ratings else 0.0
    return win_probability(ratings.get(left, mean), ratings.get(right, mean))


def draw_pair(probs: Mapping[Pair, float], present: AbstractSet[str], rng: random.Random) -> Pair:
    """A pair, its sides shuffled.

    Args:
        present: the pair that has just answered the same prompt, if any. It is less likely, but not left out: otherwise
            each draw would tell something of the other.
    """
    weights = [prob * (AGAIN if set(pair) == present else 1.0) for pair, prob in probs.items()]
    left, right = rng.choices(list(probs), weights)[0]
    return (left, right) if rng.random() < 0.5 else (right, left)
