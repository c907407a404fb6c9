"""The trial of a graph against llama.cpp: it tells another model, what depends on other reads, and what is slower."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gac_app.models.base import Model
from gac_app.models.gguf import Unsuited
from gac_app.models.llama_cpp.model import LlamaCppModel
from gac_app.models.onnx import graph, trial
from gac_app.models.onnx.architecture import Architecture, Layout
from gac_app.models.onnx.model import OnnxModel
from gac_app.models.onnx.trial import INVARIANT, compare_logits, is_batch_invariant, is_chunk_invariant, judge_times
from gac_app.models.random_model import RandomModel
from gac_app.models.sequence import ForwardRequest
from tests.models.tiny_gguf import save_random_gguf

WINDOW = 80  # the texts' first 42 ids lie within it


@pytest.fixture(scope="module")
def windowed(llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return save_random_gguf(llama_dir, path, "gemma3", {"attention.sliding_window": WINDOW}, ("Q8_0",))


@pytest.fixture
def llama_cpp(windowed: Path) -> Iterator[Model]:
    with closing(LlamaCppModel("tiny", windowed, context_length=256, max_sequences=1)) as model:
        yield model


def load(gguf: Path, directory: Path, kind: type[OnnxModel] = OnnxModel) -> OnnxModel:
    return kind("tiny", (gguf, directory), context_length=512, max_sequences=4)


# As the file says; embeddings of another size; what lies beyond the window is seen: the first ids tell nothing of it.
@pytest.mark.parametrize("wrong", [{}, {"scale": 1.0}, {"window": 512}], ids=str)
def test_another_model_is_told_by_its_logits(
    wrong: dict[str, Any], windowed: Path, llama_cpp: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def architecture_of(gguf: Path) -> Architecture:
        file = architecture(gguf)
        file.layout = replace(file.layout, **wrong)
        return file

    architecture = graph.architecture_of
    monkeypatch.setattr(graph, "architecture_of", architecture_of)
    graph.write(windowed, tmp_path)
    is_told = pytest.raises(Unsuited, match="other logits") if wrong else nullcontext()
    with closing(load(windowed, tmp_path)) as model, is_told:
        compare_logits(llama_cpp, model, WINDOW)


class Outlying(OnnxModel):
    """The first id's logits are others, as where large activations are rounded."""

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        has_first = [one.num_logits == len(one.ids) for one in requests]
        found = super().read(requests)
        for logits_NV, is_told in zip(found, has_first, strict=True):
            logits_NV[: int(is_told)] = -logits_NV[: int(is_told)]
        return found


class Stumbling(OnnxModel):
    """The logits of single steps are others."""

    factor = -1.0

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        factors = [self.factor if one.start and one.num_uncomputed == 1 else 1 for one in requests]
        return [factor * logits_NV for factor, logits_NV in zip(factors, super().read(requests), strict=True)]


def test_the_first_position_says_little_and_single_steps_much(windowed: Path, llama_cpp: Model, tmp_path: Path) -> None:
    graph.write(windowed, tmp_path)
    with closing(load(windowed, tmp_path, Outlying)) as model:
        compare_logits(llama_cpp, model, WINDOW)
    with closing(load(windowed, tmp_path, Stumbling)) as model:
        for factor in (-1.0, math.nan):
            model.factor = factor  # type: ignore[attr-defined]
            with pytest.raises(Unsuited, match="other logits"):
                compare_logits(llama_cpp, model, WINDOW)


class ByBatch(OnnxModel):
    """Its last bits tell how many reads share a pass."""

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        return [logits_NV * (1 + len(requests) * 1e-6) for logits_NV in super().read(requests)]


class ByChunk(OnnxModel):
    """Its last bits tell how many ids are read at once."""

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        num_ids = requests[0].num_uncomputed
        return [logits_NV * (1 + num_ids * 1e-6) for logits_NV in super().read(requests)]


def test_what_shows_in_the_last_bits_is_told(llama_dir: Path, tmp_path: Path) -> None:
    gguf = save_random_gguf(llama_dir, tmp_path / "tiny.gguf", "llama", quantisations=("Q8_0", "Q5_0", "Q4_1"))
    graph.write(gguf, tmp_path)
    for kind in (OnnxModel, ByBatch, ByChunk):
        with closing(load(gguf, tmp_path, kind)) as model:
            assert is_batch_invariant(model) == (kind is not ByBatch)
            assert is_chunk_invariant(model) == (kind is not ByChunk)


@pytest.mark.parametrize("number", range(len(INVARIANT)))
def test_one_way_of_cutting_that_differs_is_enough(number: int) -> None:
    """Whatever the others are: the model tells the length of just one of the wholes that are read at once."""
    start, rest = INVARIANT[number]
    length = start + sum(rest)

    class ByOneLength(RandomModel):
        def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
            is_whole = requests[0].num_uncomputed == length
            return [logits_NV + is_whole for logits_NV in super().read(requests)]

    assert is_chunk_invariant(RandomModel("a", 1))
    assert not is_chunk_invariant(ByOneLength("a", 1))


def test_a_graph_that_is_slower_is_told() -> None:
    took_s = [1.0, 2.0, 3.0]
    with pytest.raises(Unsuited, match="no faster"):
        judge_times(took_s, [1.0, 1.2, 4.5], is_invariant=True)
    assert "2000.0 -> 1200.0" in judge_times(took_s, [1.0, 1.2, 3.5], is_invariant=False)
    judge_times(took_s, [1.1, 1.2, 3.5], is_invariant=True)
    with pytest.raises(Unsuited, match="no faster"):
        judge_times(took_s, [1.1, 1.2, 3.5], is_invariant=False)


class Waiting(RandomModel):
    """A model that other work on the machine keeps waiting."""

    def read(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        time.sleep(0.03)
        return super().read(requests)


def test_other_load_on_the_machine_does_not_count() -> None:
    before_s, now_s = trial._times(RandomModel("a", 1), Waiting("b", 1))
    assert max(before_s + now_s) < 0.03


@pytest.mark.parametrize(("share", "error"), [(0.9, Unsuited), (0.5, trial.TooBusy)])
def test_slower_on_a_busy_machine_is_no_verdict(
    share: float, error: type[Exception], windowed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[float] = []  # seconds

    def times(*_: Model) -> tuple[list[float], list[float]]:
        passed.append(1.0)
        return [1.0, 2.0, 4.0], [2.0, 4.0, 8.0]

    monkeypatch.setattr(trial, "_times", times)
    monkeypatch.setattr(trial, "_clock", lambda: sum(passed) * share)
    monkeypatch.setattr(trial.time, "perf_counter", lambda: sum(passed))
    with pytest.raises(error, match="no faster"):
        trial.main(windowed, tmp_path)


def test_what_was_found_is_kept_beside_the_graph(
    windowed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trial, "judge_times", lambda *_, **__: "faster")
    trial.main(windowed, tmp_path)
    layout = Layout.load(tmp_path)
    assert layout.is_batch_invariant
    assert layout.is_chunk_invariant
    assert capsys.readouterr().out == "faster\n"


@pytest.mark.parametrize("by", ["batch", "chunk"])
def test_one_invariance_is_not_enough(by: str, windowed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, f"is_{by}_invariant", lambda _: False)
    monkeypatch.setattr(trial, "_times", lambda *_: ([1.0, 2.0, 4.0], [1.1, 1.2, 3.0]))
    monkeypatch.setattr(trial, "_BUSY", 0.0)
    with pytest.raises(Unsuited, match="no faster"):
        trial.main(windowed, tmp_path)
