"""Bradley-Terry ratings by evalica, on the Elo scale: differences of ratings give the odds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SCALE, BASE_RATING = 400.0, 1000.0  # Elo: 400 points are odds of 10 to 1; the mean of all contestants is 1000
PRIOR = 0.5  # wins each way, added to every pair if a contestant won or lost everything


def win_probability(rating: float, other: float) -> float:
    """The probability that the first of two Elo ratings wins."""
    return 1.0 / (1.0 + math.pow(10.0, (other - rating) / SCALE))


def is_connected(wins_CC: Floats) -> bool:
    """Whether every contestant has met every other, directly or through others."""
    return _reach_all(wins_CC + wins_CC.T)


def is_decided(wins_CC: Floats) -> bool:
    """Whether the best ratings are finite: no contestant or group won or lost everything against the others."""
    return _reach_all(wins_CC)


def _reach_all(edges_CC: Floats) -> bool:
    reach_CC = (edges_CC > 0) | np.eye(len(edges_CC), dtype=bool)
    for _ in range(max(1, len(edges_CC)).bit_length()):
        reach_CC = reach_CC @ reach_CC
    return bool(reach_CC.all())


def rate(wins_CC: Floats) -> Floats:
    """Elo ratings `_C`, their mean `BASE_RATING`.

    Args:
        wins_CC: wins of row against column, a tie counting half for both; `C` contestants, all connected.
    """
    import pandas as pd
    from evalica import Winner, bradley_terry

    num = len(wins_CC)
    if not is_decided(wins_CC):
        wins_CC = wins_CC + PRIOR * (1 - np.eye(num))
    winners, losers = np.nonzero(wins_CC)
    fitted = bradley_terry(
        winners.tolist(),
        losers.tolist(),
        [Winner.X] * len(winners),
        index=pd.RangeIndex(num),
        weights=wins_CC[winners, losers].tolist(),
        tolerance=1e-8,
        limit=10_000,
    )
    logs_C = np.log10(fitted.scores.sort_index().to_numpy())
    elo_C: Floats = BASE_RATING + SCALE * (logs_C - logs_C.mean())
    return elo_C
