"""Statistics against published figures and figures worked by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
