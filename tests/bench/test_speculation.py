from __future__ import annotations

import pytest

from gac_app.bench import speculation
from gac_app.bench.rows import NotMeasured
from tests.bench.conftest import BenchOf
from tests.fakes import FakeModel

ROUNDS = [[70.0, 100.0, 40.0, 60.0], [60.0, 100.0, 40.0, 60.0], [66.0, 110.0, 50.0, 60.0]]


def test_rows_are_held_to_their_targets() -> None:
    plain, slowest = speculation.rows(ROUNDS, num_different=0, share_drafted=0.5)
    assert plain.value == pytest.approx(0.6)
    assert slowest.value == pytest.approx(1.1)
    assert plain.ok
    assert slowest.ok
    assert "50%" in plain.note
    slow, _ = speculation.rows([[99.0, 100.0, 90.0]], num_different=0, share_drafted=0.5)
    assert slow.ok is False


def test_texts_that_differ_are_a_failure_however_fast() -> None:
    for row in speculation.rows(ROUNDS, num_different=1, share_drafted=0.5):
        assert (row.value, row.ok) == (None, False)
        assert "1 of 3 texts" in row.note


def test_without_one_core_for_all_it_is_not_measured(monkeypatch: pytest.MonkeyPatch, bench_of: BenchOf) -> None:
    monkeypatch.delattr("os.sched_setaffinity", raising=False)
    with pytest.raises(NotMeasured, match="one core"):
        speculation.measure(bench_of([FakeModel("a")]))


def test_both_ways_are_compared_over_the_same_prompts(monkeypatch: pytest.MonkeyPatch, bench_of: BenchOf) -> None:
    loops: list[str] = []

    class Loop:
        def __init__(self, _: object, member: object) -> None:
            loops.append(member.name)  # type: ignore[attr-defined]

        def __call__(self, ids: list[int], num_tokens: int) -> list[float]:
            return [float(i) for i in range(num_tokens)]

    monkeypatch.setattr("gac_app.bench.library_loops.GenerateLoop", Loop)
    bench = bench_of([FakeModel("a", 7), FakeModel("b", 7, delay_s=0.01)])
    found = speculation._rounds(bench)
    assert loops == ["a", "b"]
    assert found["num_different"] == 0
    assert 0 < found["share_drafted"] < 1
    assert len(found["rounds"]) == len(bench.prompts)
    assert found["rounds"][0][2:] == (1000.0, 1000.0)
