"""Visitors: what of their answers counts, and the curve over fake models."""

from __future__ import annotations

import pytest

from gac_app.bench import visitors
from gac_app.bench.visitors import Crowd, _Served
from gac_app.executors.threads import ThreadMember
from gac_app.loading import unite
from tests.bench.conftest import BenchOf
from tests.fakes import FakeModel


def test_only_tokens_of_the_counted_time_count() -> None:
    answer = _Served(asked_s=0.0, first_s=1.0, ended_s=5.0, num_tokens=40)
    assert answer.tokens_within(0.0, 9.0) == 40
    assert answer.tokens_within(4.0, 9.0) == 10
    assert answer.tokens_within(6.0, 9.0) == 0


def test_one_wait_in_twenty_is_longer_than_p95() -> None:
    assert Crowd(1.0, [0.5]).p95_s == 0.5
    assert Crowd(1.0, [*range(1, 101)]).p95_s == pytest.approx(95, abs=0.1)


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
