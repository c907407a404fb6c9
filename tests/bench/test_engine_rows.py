"""The measurements of the engine itself, over fake models whose times are planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gac_app.bench import comparisons, harness, reproducible
from gac_app.bench.harness import Decoded, decode
from gac_app.bench.rows import NotMeasured
from gac_app.bench.start import cache_bytes
from gac_app.config import Config
from gac_app.decoding.loop import DecodingSession
from gac_app.errors import GacError
from gac_app.executors.threads import ThreadMember
from gac_app.loading import unite
from gac_app.models.base import Model
from tests.bench.conftest import HarnessOf
from tests.decoding.test_reproducible import RoundingModel
from tests.fakes import FakeModel, Fault, FixedModel


def planned(monkeypatch: pytest.MonkeyPatch, ms_of: Callable[[Decoded], float]) -> None:
    """Let a measurement's answers take `ms_of` milliseconds a token, of which every forward pass takes 30."""

    def planned_decode(session: DecodingSession) -> Decoded:
        answer = decode(session)
        passes = [tuple(replace(member, seconds=0.03) for member in step.members) for step in answer.steps]
        steps = [replace(step, members=members) for step, members in zip(answer.steps, passes, strict=True)]
        end = replace(answer.finished, ttft_s=0.0, seconds=(answer.finished.num_tokens - 1) * ms_of(answer) / 1000)
        return replace(answer, steps=steps, finished=end)

    monkeypatch.setattr(harness, "decode", planned_decode)


def alone_in(answer: Decoded) -> str:
    """The member that wrote it alone; "" where several did."""
    names = {member.member for step in answer.steps for member in step.members}
    return "" if len(names) > 1 else names.pop()


def test_steps_are_held_against_the_slower_member(harness_of: HarnessOf, monkeypatch: pytest.MonkeyPatch) -> None:
    alone_ms = {"quick": 10.0, "slow": 32.0}
    planned(monkeypatch, lambda answer: alone_ms.get(alone_in(answer), 40.0))
    ratio, overhead, *_ = comparisons.measure_steps(harness_of([FakeModel("quick"), FakeModel("slow", 1)]))
    assert (ratio.name, ratio.value) == ("every step ÷ slower member alone", pytest.approx(40 / 32))
    assert ratio.note == "40 ms/token, 32 ms/token"
    assert (overhead.value, overhead.verdict) == (pytest.approx((40 - 30) / 32), "missed")


def test_the_gate_is_held_against_every_step(harness_of: HarnessOf, monkeypatch: pytest.MonkeyPatch) -> None:
    is_full = lambda answer: answer.finished.num_ensembled == len(answer.steps)  # noqa: E731
    planned(monkeypatch, lambda answer: 40 if is_full(answer) else 30)
    *_, waiting, work = comparisons.measure_steps(harness_of([FakeModel("gate"), FakeModel("other", 1)]))
    assert (waiting.value, waiting.verdict) == (pytest.approx(30 / 40), "met")
    assert work.name.startswith("gate, lazy: member-seconds")
    assert work.value is not None
    assert work.note.endswith("member-s/token")


def test_three_views_are_held_against_one(harness_of: HarnessOf, monkeypatch: pytest.MonkeyPatch) -> None:
    own = harness_of([FakeModel("a")])
    member = {"name": "a", "source": "random:0", "max_sequences": 2}
    view = {"name": "b", "of": "a", "system_prompt": "Be brief."}
    few: dict[str, Any] = {"server": {"max_running": 1}, "lab": {"is_open": False}, "settings": {"gate": "b"}}
    own.config = Config.model_validate({"members": [member, view], **few})
    planned(monkeypatch, lambda answer: 20.0 if alone_in(answer) else 30.0)
    monkeypatch.setattr(own, "loaded", lambda c: unite([FakeModel("a")], c, ThreadMember, devices_disjoint=False))
    [row] = comparisons.measure_views(own)
    assert (row.value, row.note) == (pytest.approx(1.5), "30 ms/token, 20 ms/token")
    elsewhere = {"name": "a", "source": "hub:x/y", "server": {"url": "http://gpu:8000", "api": "vllm"}}
    own.config = Config.model_validate({"members": [elsewhere]})
    with pytest.raises(NotMeasured, match="a runs on a server"):
        comparisons.measure_views(own)


def test_runs_at_once_share_passes(harness_of: HarnessOf) -> None:
    models = [FakeModel("a", delay_s=0.02), FakeModel("b", 1, delay_s=0.02)]
    pace, share = comparisons.measure_at_once(harness_of(models, num_tokens=8))
    assert pace.value is not None
    assert share.value is not None
    assert pace.value > 0
    assert 0 < share.value < 1, "each pass takes 20 ms, whoever shares it"
    assert max(models[0].batches) > 4


def test_members_without_room_for_eight_are_not_measured(harness_of: HarnessOf) -> None:
    own = harness_of([FakeModel("a")])
    few = {"name": "a", "source": "random:0", "max_sequences": 7}
    own.config = Config.model_validate({"members": [few], "server": {"max_running": 1}, "lab": {"is_open": False}})
    with pytest.raises(NotMeasured, match="needs max_sequences of at least 8"):
        comparisons.measure_at_once(own)


def test_a_step_is_its_slowest_members_pass_and_an_overhead(harness_of: HarnessOf) -> None:
    own = harness_of([FakeModel("quick"), FakeModel("slow", 1, delay_s=0.03)])
    answer = decode(own.ensemble.session("hello", own.settings(own.config)))
    passes_ms = [1000 * max(member.seconds for member in step.members) for step in answer.steps[1:]]
    assert len(answer.steps) == answer.finished.num_tokens == own.num_tokens
    assert min(passes_ms) >= 30
    assert answer.ms_per_token > 30
    assert answer.overhead_ms == pytest.approx(answer.ms_per_token - sum(passes_ms) / len(passes_ms))


def test_an_answer_that_is_too_short_or_failed_is_refused(harness_of: HarnessOf) -> None:
    failing = FakeModel("failing", fault=Fault("raise", from_read=12))
    for model, why in ((FixedModel("terse", {b"": 1.0}), "ended after 1 tokens"), (failing, "planned")):
        own = harness_of([model])
        with pytest.raises(GacError, match=why):
            decode(own.ensemble.session("hello", own.settings(own.config)))


@pytest.mark.slow
@pytest.mark.parametrize("is_rounding", [False, True])
def test_what_runs_beside_answers_shows(
    is_rounding: bool, harness_of: HarnessOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: type[Model] = RoundingModel if is_rounding else FakeModel
    own = harness_of([kind("a", 0), kind("b", 1)])  # type: ignore[call-arg]
    monkeypatch.setattr(own, "in_child", lambda _: reproducible.digests_alone(own))
    [digests] = reproducible.measure(own)
    assert (digests.value == 1, digests.verdict) == (not is_rounding, "missed" if is_rounding else "met")
    assert "several digests" in digests.note or not is_rounding
    num_jobs = len(reproducible.jobs_of(own))
    assert digests.note.startswith(f"{2 * num_jobs} answers, "), "each, and the turn behind it"


def test_the_cache_counts_all_sequences_with_full_contexts() -> None:
    models: list[Any] = [
        SimpleNamespace(bytes_per_id=10, context_length=512, max_sequences=6),
        SimpleNamespace(bytes_per_id=4, context_length=100, max_sequences=2),
    ]
    assert cache_bytes(models) == 10 * 512 * 6 + 4 * 100 * 2
    assert cache_bytes([*models, SimpleNamespace(bytes_per_id=0, context_length=1, max_sequences=1)]) == 0, "unknown"
