"""The bootstrap over visitor sessions: one person's votes are drawn together, since they are not independent.

`N` votes, `S` sessions, `B` resamples, `K` whatever is summed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # scipy is loaded on use: without votes the page need not wait for it
    from scipy import sparse

    from gac_app.arena.rating.votes import Floats, Ints

NUM_RESAMPLES = 200
_AT_ONCE = 20  # limits the memory for many sessions
_LOW, _HIGH = 0.025, 0.975


def resampled_sums(session_N: Ints, values_NK: Floats | sparse.csr_array, seed: int = 0) -> Floats:
    """The columns' sums in each resample, `[B, K]`. Equal seeds draw equal sessions."""
    from scipy import sparse

    rng = np.random.default_rng(seed)
    sessions, index_N = np.unique(session_N, return_inverse=True)
    num = len(sessions)
    places = (index_N, np.arange(len(index_N)))
    sums_SK = sparse.csr_array((np.ones(len(index_N)), places), shape=(num, len(index_N))) @ sparse.csr_array(values_NK)
    parts = []
    for _ in range(0, NUM_RESAMPLES, _AT_ONCE):
        drawn_BS = rng.integers(num, size=(_AT_ONCE, num))
        count_BS = np.stack([np.bincount(drawn_S, minlength=num) for drawn_S in drawn_BS])
        parts.append((sums_SK.T @ count_BS.T).T)
    total_BK: Floats = np.concatenate(parts)
    return total_BK


def interval(
    values_BK: Floats, estimate_K: Floats, session_N: Ints, weight_N: Floats | None = None
) -> tuple[Floats, Floats]:
    """The 95 % percentile interval of the resamples, widened if few sessions gave most of the votes.

    The effective number of sessions is n^2 / sum(n_s^2), where n_s is the weight of a session's votes. Its Student
    quantile, divided by the normal one, stretches the interval around the estimate.
    """
    from scipy.special import ndtri, stdtrit  # scipy.stats would take a second to load

    # The usual method would leave too many of a few hundred resamples outside the interval.
    ends_2K = np.quantile(values_BK, [_LOW, _HIGH], axis=0, method="weibull")
    sizes_S = np.bincount(np.unique(session_N, return_inverse=True)[1], weight_N)
    num_equal = sizes_S.sum() ** 2 / (sizes_S**2).sum()
    stretch = stdtrit(max(1.0, num_equal - 1), _HIGH) / ndtri(_HIGH)
    low_K, high_K = estimate_K + stretch * (ends_2K - estimate_K)
    return low_K, high_K
