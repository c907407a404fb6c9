"""The measurements of the engine itself, over fake models whose times are planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gac_app.bench import rules, steps, together, workbench
from gac_app.bench.workbench import Decoded
from gac_app.decoding.loop import DecodingSession
from gac_app.decoding.rules import combine_rules
from gac_app.executors.threads import ThreadMember
from gac_app.loading import unite
from tests.bench.conftest import BenchOf
from tests.fakes import FakeModel


def planned(monkeypatch: pytest.MonkeyPatch, module: object, ms_of: Callable[[Decoded], float]) -> None:
    """Let a measurement's answers take `ms_of` milliseconds a token, of which every forward pass takes 30."""

    def decode(session: DecodingSession) -> Decoded:
        answer = workbench.decode(session)
        steps = [
            replace(step, members=tuple(replace(member, seconds=0.03) for member in step.members))
            for step in answer.steps
        ]
        end = replace(answer.finished, ttft_s=0.0, seconds=(answer.finished.num_tokens - 1) * ms_of(answer) / 1000)
        return replace(answer, steps=steps, finished=end)

    monkeypatch.setattr(module, "decode", decode)


def test_steps_are_held_against_the_slower_member(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    alone_ms = {"quick": 10.0, "slow": 32.0}
    planned(monkeypatch, steps, lambda answer: alone_ms.get(alone_in(answer), 40.0))
    ratio, overhead, *_ = steps.measure(bench_of([FakeModel("quick"), FakeModel("slow", 1)]))
    assert ratio.value == pytest.approx(40 / 32)
    assert overhead.value == pytest.approx((40 - 30) / 32)
    assert "quick 10.0, slow 32.0" in ratio.note


def test_the_gate_is_held_against_every_step(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    is_full = lambda answer: answer.finished.num_ensembled == len(answer.steps)  # noqa: E731
    planned(monkeypatch, steps, lambda answer: 40 if is_full(answer) else 30)
    *_, waiting, work = steps.measure(bench_of([FakeModel("gate"), FakeModel("other", 1)]))
    assert (waiting.value, waiting.verdict) == (pytest.approx(30 / 40), "met")
    assert work.target is not None
    assert 0 < work.target.limit < 1, "the fake gate should be sure at some steps and unsure at others"


def alone_in(answer: Decoded) -> str:
    """The member that wrote it alone; "" where several did."""
    names = {member.member for step in answer.steps for member in step.members}
    return "" if len(names) > 1 else names.pop()


def test_three_views_are_held_against_one(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of([FakeModel("a")])
    planned(monkeypatch, together, lambda answer: 20.0 if alone_in(answer) else 30.0)
    monkeypatch.setattr(bench, "loaded", lambda c: unite([FakeModel("a")], c, ThreadMember, devices_disjoint=False))
    [row] = together.measure_views(bench)
    assert (row.value, row.note) == (pytest.approx(1.5), "ms/token: 30.0, one 20.0")


def test_every_combine_rule_is_held_against_the_mean(bench_of: BenchOf) -> None:
    rows = rules.measure(bench_of([FakeModel("one"), FakeModel("other", 1)]))
    assert len(rows) == len(combine_rules) - 1
    assert all(row.value is not None and row.value > 0 for row in rows)


def test_runs_at_once_share_passes(bench_of: BenchOf) -> None:
    models = [FakeModel("a", delay_s=0.02), FakeModel("b", 1, delay_s=0.02)]
    pace, share = together.measure_many(bench_of(models, num_tokens=8))
    assert pace.value is not None
    assert share.value is not None
    assert pace.value > 0
    assert 0 < share.value < 1, "each pass takes 20 ms, whoever shares it"
    assert max(models[0].batches) > 4
