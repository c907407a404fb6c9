from __future__ import annotations

import pytest

from gac_app.bench.rows import Row, Target


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
        "ok": False,
    }


def test_not_measured_is_no_miss_but_broken_is() -> None:
    assert Row("x", None, note="no browser").ok is None
    assert Row("x", None, note="broke", is_failed=True).ok is False
    assert Row("x", 1.0, target=Target("<=", 1.0)).ok is True
