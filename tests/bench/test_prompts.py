"""Long prompts: what is compared, over fake models."""

from __future__ import annotations

import pytest

from gac_app.bench import prompts
from gac_app.bench.rows import NotMeasured
from tests.bench.conftest import BenchOf
from tests.fakes import FakeModel


def test_first_tokens_are_held_against_llama_cpp(bench_of: BenchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    own_s, theirs_s = {None: 3.0, "a": 1.0, "b": 0.5}, {"a": 2.0, "b": 0.25}
    monkeypatch.setattr(prompts, "_first_token_s", lambda bench, text, alone=None: own_s[alone])
    monkeypatch.setattr(prompts, "_read_s", lambda model, text, size: theirs_s[model.name])
    models = [FakeModel("a"), FakeModel("b", 1)]
    rows = list(prompts._first_tokens(bench_of(models), {model.name: model for model in models}, 200, 2))
    assert [row.value for row in rows] == [0.5, 2.0, 1.5]
    assert [row.name.partition("token, ")[2] for row in rows] == [
        "a ÷ llama.cpp",
        "b ÷ llama.cpp",
        "ensemble ÷ llama.cpp's slower",
    ]


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
