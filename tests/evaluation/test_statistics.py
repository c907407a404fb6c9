"""Statistics against published figures and figures worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.errors import RequestError
from gac_app.evaluation.metrics.permutation import share_saved
from gac_app.evaluation.metrics.statistics import compare, wilson_interval


@pytest.mark.parametrize(
    ("num_right", "num_questions", "low", "high"),
    # Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_the_published_ones(num_right: int, num_questions: int, low: float, high: float) -> None:
    assert wilson_interval(num_right, num_questions) == pytest.approx((low, high), abs=5e-5)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_swapping_the_sides_turns_the_sign_alone(pairs: list[tuple[bool, bool]]) -> None:
    mine, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    there, back = compare(mine, theirs), compare(theirs, mine)
    assert there.delta == -back.delta
    assert there.p == back.p <= 1


# --- the interval of bits saved


@pytest.mark.slow
def test_it_is_as_wide_as_scipys_test_by_flips_says() -> None:
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
