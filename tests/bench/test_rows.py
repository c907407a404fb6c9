from __future__ import annotations

import pytest

from gac_app.bench.rows import Row, Target, interval_of


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [([0.9, 0.9, 0.9, 1.2], "met"), ([0.9, 1.1, 1.2, 1.3], "open"), ([1.1, 1.2, 1.2, 1.3], "missed")],
)
def test_only_a_whole_interval_misses_a_target(ratios: list[float], verdict: str) -> None:
    row = Row.ratio("x", ratios, [1.0] * 4, Target("<=", 1.0))
    assert row.interval == (min(ratios), max(ratios))
    assert row.verdict == verdict


def test_an_interval_holds_the_median_of_19_in_20() -> None:
    """As in tables of the sign test at 5 %."""
    bounds = {num: interval_of(range(1, num + 1)) for num in (3, 6, 9, 12, 20)}
    assert bounds == {3: (1, 3), 6: (1, 6), 9: (2, 8), 12: (3, 10), 20: (6, 15)}
