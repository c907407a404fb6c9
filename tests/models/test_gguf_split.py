"""GGUF files in two: the parts are the model, they are kept only where they are, and a file that is not for it stays
whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader

from gac_app.config import MemberConfig
from gac_app.errors import ModelLoadError
from gac_app.models import factory, gguf_parts, gguf_split
from gac_app.models.base import Read
from gac_app.models.gguf_parts import Unsuited, write
from gac_app.models.gguf_split import split
from gac_app.models.llama_cpp_model import LlamaCppModel
from gac_app.models.outer_layers import INNER_FILE, OUTPUT_FILE, EmbeddingLayout, OuterLayers
from tests.models import tiny
from tests.models.tiny_gguf import save_llama_gguf

IDS = [40, 41, 42, 43, 44, 90, 91, 92]


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def gguf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    directory = tiny.save_llama(folder / "llama", tie_word_embeddings=request.param)
    return save_llama_gguf(directory, folder / "tiny.gguf", has_q8_ends=True)


@pytest.fixture
def parts(gguf: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    folder.mkdir()
    write(gguf, folder)
    return folder


def load(gguf: Path, split: Path | None = None) -> LlamaCppModel:
    return LlamaCppModel("tiny", gguf, context_length=256, max_sequences=4, split=split)


def logits_of(model: LlamaCppModel) -> list[np.ndarray[Any, Any]]:
    """Of a prompt, of steps, and of steps of several sequences in one pass."""
    sequences = [model.new_sequence() for _ in range(3)]
    found = []
    for sequence in sequences:
        sequence.extend(IDS)
        found.append(model.read([Read(sequence, 3)])[0].numpy().copy())
    for token_id in (50, 51):
        for sequence in sequences:
            sequence.extend([token_id + sequence.slot])
        found += [rows_NV.numpy().copy() for rows_NV in model.read([Read(sequence) for sequence in sequences])]
    return found


def test_the_parts_are_the_model(gguf: Path, parts: Path) -> None:
    with closing(load(gguf)) as whole, closing(load(gguf, parts)) as halves:
        assert halves.vocabulary.token_bytes == whole.vocabulary.token_bytes
        assert halves.encode_raw("The capital of France is") == whole.encode_raw("The capital of France is")
        assert (halves.context_length, halves.chat_stop_strings) == (whole.context_length, whole.chat_stop_strings)
        assert (whole.engine, halves.engine) == ("llama.cpp cpu", "llama.cpp cpu, onnxruntime")
        for one, other in zip(logits_of(whole), logits_of(halves), strict=True):
            # float32 sums in another order, and activations that are rounded to 8 bits the other way for it
            assert np.abs(one - other).max() < 0.02 * np.abs(one).max()
            assert one.argmax(1).tolist() == other.argmax(1).tolist()


def test_numbers_that_are_none_stay_none(gguf: Path, parts: Path) -> None:
    outer = OuterLayers(gguf, parts, 1)
    for lost in (np.nan, np.inf, -np.inf):
        hidden_NE = np.ones((2, outer.width), np.float32)
        hidden_NE[1, 3] = lost
        first, second = outer.logits(hidden_NE)
        assert np.isfinite(first).all()
        assert np.isnan(second).all()


def test_a_failed_output_layer_leaves_every_cache_as_it_was(
    gguf: Path, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(load(gguf, parts)) as model, closing(load(gguf, parts)) as other:
        sequences = [model.new_sequence(), other.new_sequence()]
        for sequence, owner in zip(sequences, (model, other), strict=True):
            sequence.extend(IDS)
            owner.read([Read(sequence)])
            sequence.extend([50, 51])
        with monkeypatch.context() as patch:
            patch.setattr(OuterLayers, "logits", fail)
            with pytest.raises(RuntimeError, match="no memory"):
                model.read([Read(sequences[0])])
        assert sequences[0].num_cached == len(IDS)
        again, expected = model.read([Read(sequences[0])])[0], other.read([Read(sequences[1])])[0]
        assert np.array_equal(again.numpy(), expected.numpy())


def fail(*_: object) -> None:
    raise RuntimeError("no memory")


@pytest.mark.real
@pytest.mark.parametrize("name", ["SmolLM2-135M-Instruct", "Gemma-3-270M"])
def test_the_parts_of_the_default_models_are_these_models(
    name: str, real_files: dict[str, Path], tmp_path: Path
) -> None:
    write(real_files[name], tmp_path)
    with closing(load(real_files[name])) as whole, closing(load(real_files[name], tmp_path)) as halves:
        gguf_split._compare_logits(whole, halves)


def test_the_trial_tells_a_model_that_does_more_at_its_ends(gguf: Path, parts: Path) -> None:
    replace(EmbeddingLayout.load(parts), scale=1.5).save(parts)
    with (
        closing(load(gguf)) as whole,
        closing(load(gguf, parts)) as halves,
        pytest.raises(Unsuited, match="other logits"),
    ):
        gguf_split._compare_logits(whole, halves)


def test_the_trial_tells_parts_that_are_slower(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {("whole", 1): 1.0, ("whole", 2): 2.5, ("whole", 4): 3.0, ("parts", 1): 1.0, ("parts", 2): 1.2}
    monkeypatch.setattr(gguf_split, "_seconds", lambda model, size: seconds[model, size])
    seconds["parts", 4] = 4.5  # 2.5 is more than two passes of one: 1 + 2 + 3 against 1 + 1.2 + 4.5
    with pytest.raises(Unsuited, match="no faster"):
        gguf_split._compare_times("whole", "parts")  # type: ignore[arg-type]
    seconds["parts", 4] = 3.5
    gguf_split._compare_times("whole", "parts")  # type: ignore[arg-type]
    seconds["parts", 1] = 1.1
    with pytest.raises(Unsuited, match="no faster"):
        gguf_split._compare_times("whole", "parts")  # type: ignore[arg-type]


def allow_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_split, "_LEAST_BYTES", 0)
    monkeypatch.setattr(gguf_split, "_LEAST_SHARE", 0.0)


class Child:
    """Stands for the child process."""

    def __init__(self, carry_out: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_runs = 0
        self._carry_out = carry_out
        allow_small(monkeypatch)
        monkeypatch.setattr(subprocess, "run", self)

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.num_runs += 1
        assert command[:3] == [sys.executable, "-m", "gac_app.models.gguf_split"]
        self._carry_out(Path(command[3]), Path(command[4]))
        return subprocess.CompletedProcess(command, 0, "", "")


def test_parts_that_pay_are_kept_and_used(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(write, monkeypatch)
    kept = split(gguf, tmp_path)
    assert kept is not None
    assert split(gguf, tmp_path) == kept
    assert child.num_runs == 1
    member = MemberConfig.model_validate({"name": "tiny", "source": str(gguf)})
    monkeypatch.setattr("gac_app.models.llama_cpp_library.probe", lambda *_: None)
    model = factory.load_model(
        member, device="cpu", num_threads=1, cache_dir=tmp_path, on_fetch=lambda _: None, on_load=lambda: None
    )
    with closing(model):  # type: ignore[type-var]
        assert model.engine == "llama.cpp cpu, onnxruntime"


def test_another_processor_packs_its_own(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(write, monkeypatch)
    first = split(gguf, tmp_path)
    monkeypatch.setattr(gguf_split, "_processor", lambda: "another")
    assert split(gguf, tmp_path) not in (first, None)
    assert child.num_runs == 2


def crash(gguf: Path, directory: Path) -> None:
    write(gguf, directory)
    raise subprocess.TimeoutExpired("child", 1)


def test_a_file_whose_trial_fails_stays_whole_and_is_not_tried_again(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child(crash, monkeypatch)
    assert split(gguf, tmp_path) is None
    assert split(gguf, tmp_path) is None
    assert child.num_runs == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_the_child_says_why_a_file_stays_whole(tmp_path: Path) -> None:
    whole = save_llama_gguf(tiny.save_llama(tmp_path / "llama"), tmp_path / "float.gguf")
    with pytest.raises(Unsuited, match="its embeddings are F32, not Q8_0"):
        gguf_split._run_child(whole, tmp_path)


@pytest.mark.parametrize("trouble", ["small", "small share", "float", "damaged", "no cache", "no onnxruntime"])
def test_what_is_not_for_it_stays_whole_without_a_trial(
    trouble: str, gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child(write, monkeypatch)
    cache_dir = tmp_path / "cache"
    if trouble == "small":
        monkeypatch.setattr(gguf_split, "_LEAST_BYTES", 1 << 20)
    elif trouble == "small share":
        monkeypatch.setattr(gguf_split, "_LEAST_SHARE", 0.9)
    elif trouble == "float":
        gguf = save_llama_gguf(tiny.save_llama(tmp_path / "llama"), tmp_path / "float.gguf")
    elif trouble == "damaged":
        gguf = tmp_path / "damaged.gguf"
        gguf.write_bytes(b"GGUF" + bytes(range(200)))
    elif trouble == "no cache":
        cache_dir.write_text("a file where a directory is wanted")
    else:
        find = gguf_split.importlib.util.find_spec
        monkeypatch.setattr(
            gguf_split.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
        )
    assert split(gguf, cache_dir) is None
    assert child.num_runs == 0


@pytest.mark.parametrize("name", [OUTPUT_FILE, INNER_FILE, "layout.json"])
def test_damaged_parts_are_told(name: str, gguf: Path, parts: Path) -> None:
    (parts / name).write_bytes(b"no more")
    with pytest.raises(ModelLoadError):
        load(gguf, parts)


def test_long_lists_are_stepped_over_and_all_else_is_read(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_parts, "_MOST_ITEMS", 10)
    whole, quick = GGUFReader(gguf), gguf_parts._Reader(gguf)
    assert list(map(described, quick.tensors)) == list(map(described, whole.tensors))
    for name, field in whole.fields.items():
        if "tokenizer.ggml.t" not in name and "merges" not in name:
            assert quick.fields[name].contents() == field.contents(), name
    for one, other in zip(quick.tensors, whole.tensors, strict=True):
        assert np.array_equal(one.data, other.data)


def described(tensor: Any) -> tuple[Any, ...]:
    return tensor.name, tensor.tensor_type, tensor.shape.tolist(), tensor.data_offset
