from __future__ import annotations

import pytest

from gac_app.bench import speculation
from gac_app.bench.rows import NotMeasured
from tests.bench.conftest import BenchOf
from tests.fakes import FakeModel

ROUNDS = [[70.0, 100.0], [60.0, 100.0], [66.0, 110.0]]


def test_the_row_is_held_to_its_target() -> None:
    row = speculation.row_of(ROUNDS, num_different=0, share_drafted=0.5)
    assert row.value == pytest.approx(0.6)
    assert row.ok
    assert "50%" in row.note
    assert speculation.row_of([[99.0, 100.0]], num_different=0, share_drafted=0.5).ok is False


def test_texts_that_differ_are_a_failure_however_fast() -> None:
    row = speculation.row_of(ROUNDS, num_different=1, share_drafted=0.5)
    assert (row.value, row.ok) == (None, False)
    assert "1 of 3 texts" in row.note


def test_without_one_core_for_all_it_is_not_measured(monkeypatch: pytest.MonkeyPatch, bench_of: BenchOf) -> None:
    monkeypatch.delattr("os.sched_setaffinity", raising=False)
    with pytest.raises(NotMeasured, match="one core"):
        speculation.measure(bench_of([FakeModel("a")]))


def test_both_ways_are_compared_over_the_same_prompts(bench_of: BenchOf) -> None:
    bench = bench_of([FakeModel("a", 7), FakeModel("b", 7, delay_s=0.01)])
    found = speculation.compared(bench)
    assert found["num_different"] == 0
    assert 0 < found["share_drafted"] < 1
    assert [len(times) for times in found["rounds"]] == [2] * len(bench.prompts)
