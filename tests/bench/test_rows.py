from __future__ import annotations

import pytest

from gac_app.bench.rows import Row, Target, interval_of


@pytest.mark.parametrize(
    ("target", "met", "missed"),
    [
        (Target("<=", 1.08), (0.5, 1.08), (1.081, 2)),
        (Target(">=", 1.9), (1.9, 4), (1.89, 0)),
    ],
)
def test_targets(target: Target, met: tuple[float, ...], missed: tuple[float, ...]) -> None:
    assert [value for value in met if not target.is_met(value)] == []
    assert [value for value in missed if target.is_met(value)] == []


def test_a_row_as_json() -> None:
    row = Row("a ÷ b", 1.2, target=Target("<=", 1.08), note="12 against 10")
    assert row.as_json() == {
        "name": "a ÷ b",
        "value": 1.2,
        "unit": "",
        "target": "<= 1.08",
        "note": "12 against 10",
        "interval": None,
        "verdict": "missed",
    }


def test_not_measured_is_no_miss_but_broken_is() -> None:
    assert Row("x", None, note="no browser").verdict == ""
    assert Row("x", None, note="broke", is_failed=True).verdict == "failed"
    assert Row("x", 1.0, target=Target("<=", 1.0)).verdict == "met"


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [([0.9, 0.9, 0.9, 1.2], "met"), ([0.9, 1.1, 1.2, 1.3], "open"), ([1.1, 1.2, 1.2, 1.3], "missed")],
)
def test_only_a_whole_interval_misses_a_target(ratios: list[float], verdict: str) -> None:
    row = Row.ratio("x", ratios, [1.0] * 4, Target("<=", 1.0))
    assert row.interval == (min(ratios), max(ratios))
    assert row.verdict == verdict


def test_a_ratio_is_the_median_of_pairs() -> None:
    assert Row.ratio("x", [2, 20, 900], [1, 10, 1]).value == 2


def test_an_interval_holds_the_median_of_19_in_20() -> None:
    """As in tables of the sign test at 5 %."""
    bounds = {num: interval_of(range(1, num + 1)) for num in (3, 6, 9, 12, 20)}
    assert bounds == {3: (1, 3), 6: (1, 6), 9: (2, 8), 12: (3, 10), 20: (6, 15)}
