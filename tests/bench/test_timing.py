from __future__ import annotations

import pytest

from gac_app.bench.workbench import decode
from gac_app.errors import GacError
from tests.bench.conftest import BenchOf
from tests.fakes import FakeModel, FixedModel


def test_a_step_is_its_slowest_members_pass_and_an_overhead(bench_of: BenchOf) -> None:
    bench = bench_of([FakeModel("quick"), FakeModel("slow", 1, delay_s=0.03)])
    answer = decode(bench.ensemble.session("hello", bench.settings()))
    passes_ms = [1000 * max(member.seconds for member in step.members) for step in answer.steps[1:]]
    assert len(answer.steps) == answer.finished.num_tokens == bench.num_tokens
    assert min(passes_ms) >= 30
    assert answer.ms_per_token > 30
    assert answer.overhead_ms == pytest.approx(answer.ms_per_token - sum(passes_ms) / len(passes_ms))


def test_an_answer_too_short_to_time_is_refused(bench_of: BenchOf) -> None:
    bench = bench_of([FixedModel("terse", {b"": 1.0})])
    with pytest.raises(GacError, match="ended after 1 tokens"):
        decode(bench.ensemble.session("hello", bench.settings()))
