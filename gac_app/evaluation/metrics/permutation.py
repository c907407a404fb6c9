"""The interval of a paired difference of numbers that are no shares. Loads numpy.

If two systems are alike, a question's difference is as likely to have one sign as the other. So any of its signs may be
flipped, which makes an exact test for as few questions as there are; a bootstrap over ten is wrong twice as often as it
says. The values that the test does not reject lie between quantiles of the figure over subsets (Hartigan 1969).

Shape suffixes: `N` questions, `S` subsets of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gac_app.errors import Phrase, RequestError

LEAST_QUESTIONS = 6  # with five, the least p of two sides is 2 / 2^5, above 5 %
_MOST_IN_FULL = 12  # of so many questions all subsets are taken
_NUM_DRAWN = 4999


def share_saved(ours: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """The share of all of `others` that `ours` are less, and its 95 % interval.

    Args:
        ours, others: positive, of the same questions.

    Raises:
        RequestError: there are fewer than `LEAST_QUESTIONS`.
    """
    if len(ours) < LEAST_QUESTIONS:
        raise RequestError(
            "data", Phrase("{num} texts give no interval; {least} are needed", num=len(ours), least=LEAST_QUESTIONS)
        )
    ours_N, others_N = np.array(ours), np.array(others)
    taken_SN = _subsets(len(ours))
    found_S = np.sort(1 - (taken_SN @ ours_N) / (taken_SN @ others_N))
    num_out = int(0.025 * (len(found_S) + 1))  # on each side; the empty subset counts too
    return float(1 - ours_N.sum() / others_N.sum()), float(found_S[num_out - 1]), float(found_S[-num_out])


def _subsets(num: int) -> np.ndarray:
    """Which questions are in which subset, [S, N]: all that are not empty, or some, equal at every call."""
    if num <= _MOST_IN_FULL:
        return ((np.arange(1, 2**num)[:, None] >> np.arange(num)) & 1).astype(float)
    drawn_SN = np.random.default_rng(0).integers(0, 2, (_NUM_DRAWN, num)).astype(float)
    return drawn_SN[drawn_SN.any(axis=1)]
