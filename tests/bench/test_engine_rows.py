"""The measurements of the engine itself, over fake models whose times are planned."""

from __future__ import annotations

import pytest

from gac_app.bench import every_step, gating, library_loops, memory, one_core, rules, together
from gac_app.bench.rows import NotMeasured
from gac_app.decoding.rules import combine_rules
from gac_app.decoding.trace.events import FinishedEvent
from tests.bench.conftest import BenchOf
from tests.fakes import FakeModel


@pytest.mark.slow
def test_every_step_is_held_against_the_slower_member(bench_of: BenchOf) -> None:
    ratio, overhead = every_step.measure(bench_of([FakeModel("quick"), FakeModel("slow", 1, delay_s=0.03)]))
    assert ratio.value is not None
    assert overhead.value is not None
    # Against the quick one it would be 30 ms to less than 3.
    assert 0.5 < ratio.value < 4
    assert 0 < overhead.value < ratio.value


def test_every_combine_rule_is_held_against_the_mean(bench_of: BenchOf) -> None:
    rows = rules.measure(bench_of([FakeModel("one"), FakeModel("other", 1)]))
    assert len(rows) == len(combine_rules.names) - 1
    assert all(row.value is not None and row.value > 0 for row in rows)


@pytest.mark.parametrize("num_others", [1, 2])
def test_a_lazy_gate_asks_the_others_only_where_it_is_unsure(num_others: int, bench_of: BenchOf) -> None:
    bench = bench_of([FakeModel("gate"), *(FakeModel(f"other {i}", 1 + i) for i in range(num_others))])
    forwards, seconds = gating.measure_lazy(bench)
    sessions = [bench.ensemble.session(p, bench.settings(mode="gate", threshold=0.5)) for p in bench.prompts]
    ends = [event for session in sessions for event in session.events() if isinstance(event, FinishedEvent)]
    num_tokens = sum(end.num_tokens for end in ends)
    share = sum(end.num_ensembled for end in ends) / num_tokens
    num_forwards = sum(use.num_forwards for end in ends for name, use in end.members.items() if name != "gate")
    assert 0 < share < 1, "the fake gate should be sure at some steps and unsure at others"
    assert forwards.value == pytest.approx(num_forwards / num_others / num_tokens)
    assert forwards.target is not None
    assert forwards.target.limit == pytest.approx(share)
    assert forwards.ok
    assert seconds.value is not None
    assert seconds.value > 0


@pytest.mark.slow
def test_an_eager_gate_is_held_against_every_step(bench_of: BenchOf) -> None:
    (row,) = gating.measure_eager(bench_of([FakeModel("gate"), FakeModel("slow", 1, delay_s=0.02)]))
    assert row.value is not None
    assert 0 < row.value < 1.3, "what the slow one reads along is not read again when it is asked"
    assert row.ok == (row.value <= 1.0)


@pytest.mark.slow
def test_streams_of_one_run_overlap(bench_of: BenchOf) -> None:
    models = [FakeModel("a", delay_s=0.01), FakeModel("b", 1, delay_s=0.01)]
    (row,) = together.measure_side_by_side(bench_of(models))
    assert row.value is not None
    assert row.value > 0
    assert max(models[0].batches) == 2, "its own answer and the ensemble's share a pass"
    assert all(model.num_held <= 4 for model in models), "what is kept of conversations is bounded"


@pytest.mark.slow
def test_runs_at_once_share_passes(bench_of: BenchOf) -> None:
    models = [FakeModel("a", delay_s=0.02), FakeModel("b", 1, delay_s=0.02)]
    (row,) = together.measure_many(bench_of(models))
    assert row.value is not None
    assert row.value > 1.5, "a pass of these models takes as long for eight as for one"
    assert max(models[0].batches) > 4


@pytest.mark.parametrize("measure", [library_loops.measure_llama_cpp, memory.measure])
def test_what_needs_llama_cpp_says_so(measure: object, bench_of: BenchOf) -> None:
    with pytest.raises(NotMeasured, match=r"llama\.cpp"):
        measure(bench_of([FakeModel("a")]))  # type: ignore[operator]


def test_one_core_is_measured_where_it_can_be_kept(monkeypatch: pytest.MonkeyPatch, bench_of: BenchOf) -> None:
    monkeypatch.delattr("os.sched_setaffinity", raising=False)
    with pytest.raises(NotMeasured, match="one core"):
        one_core.measure(bench_of([FakeModel("a")]))
