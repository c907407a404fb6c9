"""Bradley-Terry ratings on the Elo scale: differences of ratings give the odds.

`B` tables, `C` contestants.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]
    Floats = NDArray[np.float64]

SCALE, BASE_RATING = 400.0, 1000.0  # Elo: 400 points are odds of 10 to 1; the mean of all contestants is 1000
PRIOR = 0.5  # wins each way, added to every pair if a contestant won or lost everything
_MAX_STEPS, _MAX_STEP, _TOLERANCE = 100, 2.0, 1e-10  # of Newton's method, in log odds


def win_probability(rating: float, other: float) -> float:
    """The probability that the first of two Elo ratings wins."""
    return 1.0 / (1.0 + math.pow(10.0, (other - rating) / SCALE))


def group_worth_most(wins_CC: Floats, worth_C: Floats) -> Flags:
    """Which contestants are in the group with the largest sum of `worth_C`. Those of a group have met each other,
    directly or through others.
    """
    group_C = _reach((wins_CC + wins_CC.T)[None])[0].argmax(axis=1)
    chosen_C: Flags = group_C == np.bincount(group_C, worth_C).argmax()
    return chosen_C


def is_decided(wins_BCC: Floats) -> Flags:
    """Whether the best ratings are finite: no contestant or group won or lost everything against the others."""
    return np.asarray(_reach(wins_BCC).all(axis=(1, 2)))


def _reach(edges_BCC: Floats) -> Flags:
    num = edges_BCC.shape[-1]
    reach_BCC = (edges_BCC > 0) | np.eye(num, dtype=bool)
    for _ in range(max(1, num).bit_length()):
        reach_BCC = reach_BCC @ reach_BCC
    return reach_BCC


def rate(wins_CC: Floats) -> Floats:
    """Elo ratings `_C`, their mean `BASE_RATING`.

    Args:
        wins_CC: wins of row against column, a tie counting half for both; `C` contestants, all connected.
    """
    elo_C: Floats = rate_all(wins_CC[None])[0]
    return elo_C


def rate_all(wins_BCC: Floats) -> Floats:
    """`rate` of several tables at once, `[B, C]`, by Newton's method; some hundred take as long as one."""
    num = wins_BCC.shape[-1]
    prior_CC = PRIOR * (1 - np.eye(num))
    wins_BCC = np.where(is_decided(wins_BCC)[:, None, None], wins_BCC, wins_BCC + prior_CC)
    meetings_BCC = wins_BCC + wins_BCC.swapaxes(1, 2)
    logit_BC = np.zeros(wins_BCC.shape[:2])
    for _ in range(_MAX_STEPS):
        prob_BCC = 1 / (1 + np.exp(logit_BC[:, None, :] - logit_BC[:, :, None]))
        gradient_BC = (wins_BCC - meetings_BCC * prob_BCC).sum(axis=2)
        weight_BCC = meetings_BCC * prob_BCC * (1 - prob_BCC)
        # The sum of the strengths is free; the ones fix it, since every gradient's sum is 0.
        curve_BCC = np.eye(num) * weight_BCC.sum(axis=2)[:, :, None] - weight_BCC + 1.0
        step_BC = np.linalg.solve(curve_BCC, gradient_BC[:, :, None])[:, :, 0]
        logit_BC += np.clip(step_BC, -_MAX_STEP, _MAX_STEP)
        if np.abs(step_BC).max(initial=0.0) < _TOLERANCE:
            break
    elo_BC: Floats = BASE_RATING + SCALE / np.log(10) * (logit_BC - logit_BC.mean(axis=1, keepdims=True))
    return elo_BC
