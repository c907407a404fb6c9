"""The interval of bits saved: as wide as a test by flipped signs says, also for few questions."""

from __future__ import annotations

import numpy as np
import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.metrics.permutation import share_saved


@pytest.mark.slow
def test_it_agrees_with_the_test_of_scipy() -> None:
    """Zero lies outside exactly where the test by all flips rejects it."""
    from scipy.stats import permutation_test

    random, both = np.random.default_rng(3), set()
    for difference_N in random.normal(0.5, 1, (20, 8)):
        p = permutation_test((difference_N,), np.sum, permutation_type="samples", n_resamples=256).pvalue
        _, low, high = share_saved(list(10 - difference_N), [10.0] * 8)
        assert (low > 0 or high < 0) == (p <= 0.05)
        both.add(p <= 0.05)
    assert both == {True, False}


def test_of_six_questions_the_extremes_are_the_ends() -> None:
    assert share_saved([1, 2, 3, 4, 5, 6], [10] * 6) == pytest.approx((0.65, 0.4, 0.9))
    with pytest.raises(RequestError, match="5 texts give no interval; 6 are needed"):
        share_saved([1, 2, 3, 4, 5], [10] * 5)
