"""The measurements of the engine itself, over fake models whose times are planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gac_app.bench import every_step, gate, rules, timing, together
from gac_app.bench.timing import Decoded
from gac_app.decoding.loop import DecodingSession
from gac_app.decoding.rules import combine_rules
from gac_app.decoding.trace.events import FinishedEvent
from tests.bench.conftest import BenchOf
from tests.fakes import FakeModel


def planned(monkeypatch: pytest.MonkeyPatch, module: object, ms_of: Callable[[Decoded], float]) -> None:
    """Let a measurement's answers take `ms_of` milliseconds a token, of which every forward pass takes 30."""

    def decode(session: DecodingSession) -> Decoded:
        answer = timing.decode(session)
        steps = [
            replace(step, members=tuple(replace(member, seconds=0.03) for member in step.members))
            for step in answer.steps
        ]
        return replace(answer, steps=steps, marks_s=[n * ms_of(answer) / 1000 for n in range(len(steps))])

    monkeypatch.setattr(module, "decode", decode)


def test_every_step_is_held_against_the_slower_member(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    alone_ms = {"quick": 10.0, "slow": 32.0}
    planned(monkeypatch, every_step, lambda answer: alone_ms.get(alone_in(answer), 40.0))
    ratio, overhead = every_step.measure(bench_of([FakeModel("quick"), FakeModel("slow", 1)]))
    assert ratio.value == pytest.approx(40 / 32)
    assert overhead.value == pytest.approx((40 - 30) / 32)
    assert "quick 10.0, slow 32.0" in ratio.note


def alone_in(answer: Decoded) -> str:
    """The member that wrote it alone; "" where several did."""
    names = {member.member for step in answer.steps for member in step.members}
    return "" if len(names) > 1 else names.pop()


def test_every_combine_rule_is_held_against_the_mean(bench_of: BenchOf) -> None:
    rows = rules.measure(bench_of([FakeModel("one"), FakeModel("other", 1)]))
    assert len(rows) == len(combine_rules.names) - 1
    assert all(row.value is not None and row.value > 0 for row in rows)


@pytest.mark.parametrize("num_others", [1, 2])
def test_a_lazy_gate_asks_the_others_only_where_it_is_unsure(num_others: int, bench_of: BenchOf) -> None:
    bench = bench_of([FakeModel("gate"), *(FakeModel(f"other {i}", 1 + i) for i in range(num_others))])
    forwards, seconds, *_ = gate.measure(bench)
    sessions = [
        bench.ensemble.session(p, bench.settings(mode="gate", gate_policy="lazy", threshold=0.5)) for p in bench.prompts
    ]
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


def test_an_auto_gate_is_held_against_every_step_and_lazy(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    planned(monkeypatch, gate, lambda answer: 40 if answer.finished.num_ensembled == len(answer.steps) else 30)
    models = [FakeModel("gate", delay_s=0.005), FakeModel("other", 1, delay_s=0.001)]
    *_, waiting, work = gate.measure(bench_of(models))
    assert waiting.value == pytest.approx(30 / 40)
    assert waiting.ok
    assert work.value is not None
    assert work.value > 0
    assert max(models[0].batches) > 4


def test_streams_of_one_run_overlap(bench_of: BenchOf) -> None:
    models = [FakeModel("a", delay_s=0.005), FakeModel("b", 1, delay_s=0.005)]
    (row,) = together.measure_side_by_side(bench_of(models, num_tokens=8))
    assert row.value is not None
    assert row.value > 0
    assert max(models[0].batches) == 2, "its own answer and the ensemble's share a pass"
    assert all(model.num_held <= 4 for model in models), "what is kept of conversations is bounded"


def test_runs_at_once_share_passes(bench_of: BenchOf) -> None:
    models = [FakeModel("a", delay_s=0.02), FakeModel("b", 1, delay_s=0.02)]
    (row,) = together.measure_many(bench_of(models, num_tokens=8))
    assert row.value is not None
    assert row.value > 0
    assert max(models[0].batches) > 4
