"""The measurements of the engine itself, over fake models whose times are planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gac_app.bench import prompts, reproducible, rules, steps, together, visitors, workbench
from gac_app.bench.rows import NotMeasured
from gac_app.bench.start import cache_bytes
from gac_app.bench.workbench import Decoded, decode
from gac_app.config import Config
from gac_app.decoding.loop import DecodingSession
from gac_app.decoding.rules import combine_rules
from gac_app.errors import GacError
from gac_app.executors.threads import ThreadMember
from gac_app.loading import unite
from gac_app.member_config import MemberConfig
from gac_app.models.base import Model
from tests.bench.conftest import BenchOf
from tests.decoding.test_reproducible import RoundingModel
from tests.fakes import FakeModel, Fault, FixedModel
from tests.models.tiny import save_llama
from tests.models.tiny_gguf import save_llama_gguf


def planned(monkeypatch: pytest.MonkeyPatch, module: object, ms_of: Callable[[Decoded], float]) -> None:
    """Let a measurement's answers take `ms_of` milliseconds a token, of which every forward pass takes 30."""

    def decode(session: DecodingSession) -> Decoded:
        answer = workbench.decode(session)
        passes = [tuple(replace(member, seconds=0.03) for member in step.members) for step in answer.steps]
        steps = [replace(step, members=members) for step, members in zip(answer.steps, passes, strict=True)]
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
    member = {"name": "a", "source": "random:0", "max_sequences": 2}
    view = {"name": "b", "of": "a", "system_prompt": "Be brief."}
    few: dict[str, Any] = {"server": {"max_running": 1}, "lab": {"is_open": False}, "settings": {"gate": "b"}}
    bench.config = Config.model_validate({"members": [member, view], **few})
    planned(monkeypatch, together, lambda answer: 20.0 if alone_in(answer) else 30.0)
    monkeypatch.setattr(bench, "loaded", lambda c: unite([FakeModel("a")], c, ThreadMember, devices_disjoint=False))
    [row] = together.measure_views(bench)
    assert (row.value, row.note) == (pytest.approx(1.5), "ms/token: 30.0, one 20.0")
    elsewhere = {"name": "a", "source": "hub:x/y", "server": {"url": "http://gpu:8000", "api": "vllm"}}
    bench.config = Config.model_validate({"members": [elsewhere]})
    with pytest.raises(NotMeasured, match="a runs on a server"):
        together.measure_views(bench)


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


def test_a_step_is_its_slowest_members_pass_and_an_overhead(bench_of: BenchOf) -> None:
    bench = bench_of([FakeModel("quick"), FakeModel("slow", 1, delay_s=0.03)])
    answer = decode(bench.ensemble.session("hello", bench.settings()))
    passes_ms = [1000 * max(member.seconds for member in step.members) for step in answer.steps[1:]]
    assert len(answer.steps) == answer.finished.num_tokens == bench.num_tokens
    assert min(passes_ms) >= 30
    assert answer.ms_per_token > 30
    assert answer.overhead_ms == pytest.approx(answer.ms_per_token - sum(passes_ms) / len(passes_ms))


def test_an_answer_that_is_too_short_or_failed_is_refused(bench_of: BenchOf) -> None:
    failing = FakeModel("failing", fault=Fault("raise", from_read=12))
    for model, why in ((FixedModel("terse", {b"": 1.0}), "ended after 1 tokens"), (failing, "planned")):
        bench = bench_of([model])
        with pytest.raises(GacError, match=why):
            decode(bench.ensemble.session("hello", bench.settings()))


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


def test_a_crowd_is_counted_while_all_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def visit(_: object, __: object, begin_s: float, until_s: float, name: str) -> list[visitors._Served]:
        """For the first visitor half the time, for the second all of it, a token a second."""
        from_s, seconds = until_s - 20, 10 if name.endswith(".0") else 20
        early = visitors._Served(from_s - begin_s, from_s - begin_s + 9, from_s, 1)
        return [early, visitors._Served(from_s, from_s, from_s + seconds, seconds)]

    monkeypatch.setattr(visitors, "_visit", visit)
    nothing: Any = None
    crowd = visitors.crowd_of(nothing, nothing, 2, 4.0, 20.0)
    assert crowd.tokens_per_s == pytest.approx(2)
    assert crowd.waits_s == pytest.approx([0, 0]), "who came earlier does not count"


def test_first_tokens_are_held_against_llama_cpp(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    own_s, theirs_s = {None: 3.0, "a": 1.0, "b": 0.5}, {"a": 2.0, "b": 0.25}
    monkeypatch.setattr(prompts, "_first_token_s", lambda bench, text, alone=None: own_s[alone])
    monkeypatch.setattr(prompts, "_read_s", lambda model, text, size: theirs_s[model.name])
    models = [FakeModel("a"), FakeModel("b", 1)]
    rows = list(prompts._first_tokens(bench_of(models), {model.name: model for model in models}, 200, 2))
    assert [row.value for row in rows] == [0.5, 2.0, 1.5]
    names = [row.name.partition("token, ")[2] for row in rows]
    assert names == ["a ÷ llama.cpp", "b ÷ llama.cpp", "ensemble ÷ llama.cpp's slower"]


def test_an_answers_pace_is_timed_beside_a_prompt(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "_NEIGHBOUR_CHARS", 2_000)
    models = [FakeModel("a", delay_s=0.005), FakeModel("b", 1, delay_s=0.005)]
    for model in models:
        model.chunk_size = 128
    row = prompts._pace_row(bench_of(models))
    assert row.value is not None
    assert row.value > 0
    assert max(models[0].num_read_at_once) == 128, "the prompt was read meanwhile"


def test_files_that_llama_cpp_does_not_know_are_not_measured(bench_of: BenchOf) -> None:
    with pytest.raises(NotMeasured, match="a is not a GGUF file"):
        prompts.measure(bench_of([FakeModel("a")]))


@pytest.mark.slow
@pytest.mark.parametrize("is_rounding", [False, True])
def test_what_runs_beside_answers_shows(is_rounding: bool, bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: type[Model] = RoundingModel if is_rounding else FakeModel
    bench = bench_of([kind("a", 0), kind("b", 1)])  # type: ignore[call-arg]
    monkeypatch.setattr(bench, "in_child", lambda _: reproducible.digests_alone(bench))
    [digests] = reproducible.measure(bench)
    assert (digests.value == 1, digests.verdict) == (not is_rounding, "missed" if is_rounding else "met")
    assert "several digests" in digests.note or not is_rounding
    num_jobs = len(reproducible.jobs_of(bench))
    assert digests.note.startswith(f"{2 * num_jobs} answers, "), "each, and the turn behind it"


@pytest.mark.slow
def test_the_cache_is_counted_from_the_shape_in_the_file(tmp_path: Path) -> None:
    path = save_llama_gguf(save_llama(tmp_path / "llama"), tmp_path / "tiny.gguf")
    member = MemberConfig(name="tiny", source=str(path), max_sequences=6)
    # 2 layers x 2 heads of keys and values x 8 wide (32 / 4) x keys and values x 2 bytes x 512 tokens x 6 sequences
    assert cache_bytes(path, member) == 2 * 2 * 8 * 2 * 2 * 512 * 6
