"""The leaderboard: ratings with 95 % intervals, ranks, and other statistics of votes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gac_app.arena.outcomes import Outcome
from gac_app.arena.rating.ratings import group_worth_most, rate, rate_all
from gac_app.arena.rating.resampling import interval, resampled_sums
from gac_app.arena.rating.style import FEATURES
from gac_app.arena.rating.style_control import StyleControl
from gac_app.errors import Phrase

if TYPE_CHECKING:
    from gac_app.arena.rating.votes import Flags, Floats, Votes

_SURE = 0.975  # share of the resamples in which a contestant must be ahead of another to rank before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One contestant's line. None = unknown: too few votes, or no costs.

    Attributes:
        low, high: the rating's 95 % interval.
        rank, rank_low, rank_high: the rank by rating, and the best and worst ranks that the votes allow.
        is_listed: whether it is among today's contestants.
    """

    name: str
    is_listed: bool
    num_votes: int
    num_wins: int
    num_ties: int
    num_both_bad: int
    num_losses: int
    rating: float | None = None
    low: float | None = None
    high: float | None = None
    rank: int | None = None
    rank_low: int | None = None
    rank_high: int | None = None
    ms_per_token: float | None = None
    passes_per_token: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Busiest:
    """The address from which most votes came.

    Attributes:
        share: of the weight of all votes.
        ranks: without its votes, of the contestants whose rank would be another; None = it would not be rated.
    """

    num_votes: int
    num_visitors: int
    share: float
    ranks: dict[str, int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """The leaderboard of some votes.

    Attributes:
        standings: best first, then contestants with too few votes.
        problem: why nothing is rated; "" if something is.
        busiest: what one address did; None if no address is known, or nothing is rated.
        wins, meetings: of `names`, row against column: wins (a tie is half a one) and votes.
        left_bias: the share of decided votes for the left side; 0.5 is fair. None without decided votes.
        style_effects: feature -> Elo per standard deviation; empty without style control.
    """

    standings: tuple[Standing, ...]
    problem: str
    num_votes: int
    num_sessions: int
    num_ties: int
    num_both_bad: int
    left_bias: Estimate | None
    busiest: Busiest | None
    names: tuple[str, ...]
    wins: tuple[tuple[float, ...], ...]
    meetings: tuple[tuple[int, ...], ...]
    style_effects: dict[str, Estimate]


def leaderboard_of(votes: Votes, listed: Sequence[str], *, min_votes: int, controls_style: bool = False) -> Leaderboard:
    """Rate filtered votes.

    Args:
        listed: today's contestants. Other contestants in the votes keep their lines.
        min_votes: a contestant with fewer is not rated.
    """
    wins_CC = votes.unweighed().wins_CC()
    meetings_CC = wins_CC + wins_CC.T
    rateable = _rateable(votes, listed, min_votes)
    figures, effects = _figures(*rateable, controls_style) if rateable else ({}, {})
    lines = [
        _line(votes, code, listed, figures.get(name, {}))
        for code, name in enumerate(votes.names)
        if name in listed or meetings_CC[code].any()
    ]

    def ranks(some: Votes) -> dict[str, int]:
        """The ranks by some of the votes."""
        rateable = _rateable(some, listed, min_votes)
        return _ranks(*rateable, _ratings(rateable[0], controls_style)) if rateable else {}

    return Leaderboard(
        standings=tuple(sorted(lines, key=lambda line: (line.rating is None, -(line.rating or 0), line.name))),
        problem=""
        if rateable
        else Phrase("Not enough votes: at least two contestants need {count} each.", count=min_votes),
        num_votes=len(votes),
        num_sessions=len(np.unique(votes.visitor_N)),
        num_ties=int(_is(Outcome.TIE, votes).sum()),
        num_both_bad=int(_is(Outcome.BOTH_BAD, votes).sum()),
        left_bias=_left_bias(votes),
        busiest=_busiest(votes, lines, ranks),
        names=votes.names,
        wins=tuple(map(tuple, wins_CC.tolist())),
        meetings=tuple(map(tuple, meetings_CC.astype(int).tolist())),
        style_effects=effects,
    )


def _rateable(votes: Votes, listed: Sequence[str], min_votes: int) -> tuple[Votes, Flags] | None:
    """The votes between contestants that can be compared, and which of these are rated; None if fewer than two are.

    Can be compared: the group with most of today's contestants that have enough votes; of equal ones, with most votes.
    """
    wins_CC = votes.unweighed().wins_CC()
    num_C = (wins_CC + wins_CC.T).sum(axis=1)
    is_todays_C = np.array([name in listed for name in votes.names]) & (num_C >= min_votes)
    met_C = group_worth_most(wins_CC, is_todays_C + num_C / (1 + num_C.sum()))
    names = tuple(name for name, has_met in zip(votes.names, met_C, strict=True) if has_met)
    met = votes.where(met_C[votes.sides_N2[:, 0]])
    met = replace(met, names=names, sides_N2=(np.cumsum(met_C) - 1)[met.sides_N2])
    rated_C = num_C[met_C] >= min_votes
    return (met, rated_C) if rated_C.sum() >= 2 else None


def _ratings(votes: Votes, controls_style: bool) -> Floats:
    return StyleControl(votes).ratings_C if controls_style else rate(votes.wins_CC())


def _ranks(votes: Votes, rated_C: Flags, rating_C: Floats) -> dict[str, int]:
    """The ranks of the rated contestants."""
    rated = [(votes.names[at], rating_C[at]) for at in np.flatnonzero(rated_C)]
    return {name: 1 + int((rating_C[rated_C] > rating).sum()) for name, rating in rated}


def _busiest(votes: Votes, lines: Sequence[Standing], ranks: Callable[[Votes], dict[str, int]]) -> Busiest | None:
    known_N = votes.address_N[votes.address_N >= 0]
    with_it = {line.name: line.rank for line in lines if line.rank is not None}
    if not len(known_N) or not with_it:
        return None
    is_its_N = votes.address_N == np.bincount(known_N).argmax()
    without = ranks(votes.where(~is_its_N).weighed())
    return Busiest(
        num_votes=int(is_its_N.sum()),
        num_visitors=len(np.unique(votes.visitor_N[is_its_N])),
        share=float(votes.weight_N[is_its_N].sum() / votes.weight_N.sum()),
        ranks={name: without.get(name) for name, rank in with_it.items() if without.get(name) != rank},
    )


def _figures(
    votes: Votes, rated_C: Flags, controls_style: bool
) -> tuple[dict[str, dict[str, Any]], dict[str, Estimate]]:
    """The rating fields of each rated contestant's line, by name, and the effects of style, by feature."""
    if controls_style:
        control = StyleControl(votes)
        rating_BC, effect_BF = control.resampled()
        ends = interval(effect_BF, control.effects_F, votes.session_N, votes.weight_N)
        found = zip(control.effects_F, *ends, strict=True)
        effects = {name: Estimate(*map(float, one)) for name, one in zip(FEATURES, found, strict=True)}
        return _ranked(votes, rated_C, control.ratings_C, rating_BC), effects
    num = len(votes.names)
    wins_BK = resampled_sums(votes.session_N, votes.wins_NK())
    rating_BC = rate_all(wins_BK.reshape(-1, num, num))
    return _ranked(votes, rated_C, rate(votes.wins_CC()), rating_BC), {}


def _ranked(votes: Votes, rated_C: Flags, rating_C: Floats, rating_BC: Floats) -> dict[str, dict[str, Any]]:
    low_C, high_C = interval(rating_BC, rating_C, votes.session_N, votes.weight_N)
    ahead_CC = (rating_BC[:, :, None] > rating_BC[:, None, :]).mean(axis=0) >= _SURE
    ahead_CC &= rated_C[:, None] & rated_C[None, :]
    ranks = _ranks(votes, rated_C, rating_C)
    return {
        votes.names[at]: {
            "rating": float(rating_C[at]),
            "low": float(low_C[at]),
            "high": float(high_C[at]),
            "rank": ranks[votes.names[at]],
            "rank_low": 1 + int(ahead_CC[:, at].sum()),
            "rank_high": len(ranks) - int(ahead_CC[at].sum()),
        }
        for at in np.flatnonzero(rated_C)
    }


def _line(votes: Votes, at: int, listed: Sequence[str], figures: dict[str, Any]) -> Standing:
    is_side_N2 = votes.sides_N2 == at
    on_left_N, on_right_N = is_side_N2[:, 0], is_side_N2[:, 1]
    left, right, tie, bad = (_is(outcome, votes) for outcome in Outcome)
    plays_N = on_left_N | on_right_N
    cost_K2 = votes.cost_N22[is_side_N2]
    costs = [float(one) if np.isfinite(one) else None for one in _means(cost_K2)]
    return Standing(
        name=votes.names[at],
        is_listed=votes.names[at] in listed,
        num_votes=int(plays_N.sum()),
        num_wins=int((on_left_N & left).sum() + (on_right_N & right).sum()),
        num_ties=int((plays_N & tie).sum()),
        num_both_bad=int((plays_N & bad).sum()),
        num_losses=int((on_left_N & right).sum() + (on_right_N & left).sum()),
        ms_per_token=costs[0],
        passes_per_token=costs[1],
        **figures,
    )


def _is(outcome: Outcome, votes: Votes) -> Flags:
    is_it_N: Flags = votes.outcome_N == list(Outcome).index(outcome)
    return is_it_N


def _means(cost_K2: Floats) -> Floats:
    known_K2 = np.isfinite(cost_K2)
    sums_2 = np.where(known_K2, cost_K2, 0.0).sum(axis=0)
    means_2: Floats = np.divide(sums_2, known_K2.sum(axis=0), out=np.full(2, np.nan), where=known_K2.any(axis=0))
    return means_2


def _left_bias(votes: Votes) -> Estimate | None:
    left_N, right_N = (_is(outcome, votes) for outcome in (Outcome.LEFT, Outcome.RIGHT))
    decided_N = left_N | right_N
    if not decided_N.any():
        return None
    counted_N2 = np.stack([left_N, decided_N], axis=1).astype(np.float64)
    left_B, decided_B = resampled_sums(votes.session_N, counted_N2).T
    share = float(left_N.sum() / decided_N.sum())
    shares_B1 = (left_B / np.maximum(decided_B, 1))[decided_B > 0, None]
    low_1, high_1 = interval(shares_B1, np.array([share]), votes.session_N)
    # With few sessions the interval may reach beyond 0 or 1.
    return Estimate(share, max(0.0, float(low_1[0])), min(1.0, float(high_1[0])))
