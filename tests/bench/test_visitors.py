"""Visitors: what of their answers counts, and the curve over fake models."""

from __future__ import annotations

import pytest

from gac_app.bench import visitors
from gac_app.executors.threads import ThreadMember
from gac_app.loading import unite
from tests.bench.conftest import BenchOf
from tests.fakes import FakeModel


@pytest.mark.slow
def test_the_curve_has_a_row_for_each_number(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [FakeModel("a", delay_s=0.002), FakeModel("b", 1, delay_s=0.002)]
    bench = bench_of(models)
    monkeypatch.setattr(bench, "loaded", lambda c: unite(models, c, ThreadMember, devices_disjoint=True))
    monkeypatch.setattr(visitors, "_LENGTHS", (16, 32))
    monkeypatch.setattr(visitors, "_BEGIN_S", 0.02)
    monkeypatch.setattr(visitors, "_COUNTED_S", 0.2)
    rows = visitors.measure(bench)
    assert [row.name for row in rows[:6]] == [f"visitors: tokens/s, {number}" for number in visitors.NUMBERS]
    assert all(row.value for row in rows)
    assert [row.target is not None for row in rows] == [False] * 6 + [True] * 3
    assert max(models[0].batches) > 8, "answers decode at once"
