"""OnnxModel beyond the laws: the models that llama.cpp has, to the last bit the same whoever reads along."""

from __future__ import annotations

import mmap
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gac_app.errors import MemberError, ModelLoadError
from gac_app.models.base import Model
from gac_app.models.gguf import Unsuited
from gac_app.models.llama_cpp.model import LlamaCppModel
from gac_app.models.onnx.architecture import GRAPH_FILE, WEIGHTS_FILE, Layout, architecture_of
from gac_app.models.onnx.graph import write
from gac_app.models.onnx.model import OnnxModel, zeros
from gac_app.models.onnx.trial import distance
from gac_app.models.sequence import KVSequence
from tests.fakes import after
from tests.models.tiny_gguf import save_llama_gguf, save_random_gguf

BOUNDS = {"llama": 0.1, "qwen2": 0.1, "qwen3": 0.06, "gemma3": 0.03}
IDS = [40 + (7 * place) % 90 for place in range(60)]


@pytest.fixture(scope="module", params=list(BOUNDS))
def gguf(request: pytest.FixtureRequest, llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_gguf(llama_dir, tmp_path_factory.mktemp("gguf") / f"{request.param}.gguf", request.param)


@pytest.fixture(scope="module")
def directory(gguf: Path) -> Path:
    directory = gguf.parent / "onnx"
    directory.mkdir()
    write(gguf, directory)
    return directory


@pytest.fixture
def model(gguf: Path, directory: Path) -> Iterator[OnnxModel]:
    with closing(load(gguf, directory)) as model:
        yield model


def load(gguf: Path, directory: Path) -> OnnxModel:
    return OnnxModel("tiny", (gguf, directory), context_length=200, max_sequences=4)


def read(model: Model, sequence: KVSequence, ids: list[int], num_logits: int | None = None) -> np.ndarray[Any, Any]:
    return model.read([after(sequence, ids, num_logits or len(ids))])[0].numpy().copy()


@pytest.mark.slow
def test_it_is_the_model_that_llama_cpp_has(gguf: Path, model: OnnxModel) -> None:
    with closing(LlamaCppModel("tiny", gguf, context_length=200, max_sequences=4)) as other:
        assert model.vocabulary.token_bytes == other.vocabulary.token_bytes
        assert model.encode_raw("The capital of France is") == other.encode_raw("The capital of France is")
        assert (model.context_length, model.chat_stop_strings) == (other.context_length, other.chat_stop_strings)
        logits = [
            np.concatenate([read(each, sequence, IDS[:50]), read(each, sequence, IDS[50:51])])
            for each, sequence in ((model, model.new_sequence()), (other, other.new_sequence()))
        ]
        # Both round activations to 8 bits, one of them keys and values to half precision. With another activation, or
        # other rotary embeddings, the distance is at least twice the bound.
        assert distance(*logits) < BOUNDS[gguf.stem]
        assert distance(logits[0][1:], logits[1][:-1]) > 0.5


@pytest.mark.parametrize("cuts", [(1,) * 60, (1, 15, 16, 28), (50, *(1,) * 10)], ids=["steps", "parts", "both"])
def test_ids_may_be_cut_into_passes(cuts: tuple[int, ...], model: OnnxModel) -> None:
    whole_NV = read(model, model.new_sequence(), IDS)
    sequence, start, found = model.new_sequence(), 0, []
    for cut in cuts:
        found.append(read(model, sequence, IDS[start : start + cut]))
        start += cut
    assert np.array_equal(np.concatenate(found), whole_NV)
    model.chunk_size = 16
    assert np.array_equal(read(model, model.new_sequence(), IDS[:18], 4), whole_NV[14:18]), "of two parts"


@pytest.mark.parametrize("lengths", [(1, 1, 1), (3, 1, 16), (40, 1, 2), (2, 1, 2)])
def test_who_reads_along_changes_no_bit(model: OnnxModel, lengths: tuple[int, ...]) -> None:
    """Between them is one who waits, and gets nothing of it. The first is longer than what a window is given."""
    first, waiting, *others = (model.new_sequence() for _ in range(4))
    for number, sequence in enumerate((first, waiting, *others)):
        read(model, sequence, [*IDS, *IDS, *IDS[:25]] if sequence is first else IDS[number : 3 + 20 * number])
    sequences = [first, *others]
    requests = [after(sequence, IDS[:length], length) for sequence, length in zip(sequences, lengths, strict=True)]
    together = [found.numpy().copy() for found in model.read(requests)]
    later = read(model, waiting, IDS[5:8])
    for sequence, length, found in zip(sequences, lengths, together, strict=True):
        model.rewind(sequence, len(sequence.ids) - length)
        assert np.array_equal(read(model, sequence, IDS[:length]), found)
    model.rewind(waiting, len(waiting.ids) - 3)
    assert np.array_equal(read(model, waiting, IDS[5:8]), later)


@pytest.mark.parametrize("num_cached", [0, 3, 125, 127, 140])
def test_two_ids_are_two_steps(model: OnnxModel, num_cached: int) -> None:
    """Also after those behind them were taken back, and where what a window is given begins elsewhere in between."""
    by_one, by_two = model.new_sequence(), model.new_sequence()
    for sequence in (by_one, by_two):
        if num_cached:
            read(model, sequence, (IDS * 3)[:num_cached])
    for start in (0, 2, 4):
        one, two = IDS[start : start + 2]
        steps_NV = np.concatenate([read(model, by_one, [one]), read(model, by_one, [two])])
        assert np.array_equal(read(model, by_two, [one, two]), steps_NV)
        model.rewind(by_two, len(by_two.ids) - 1)
        assert np.array_equal(read(model, by_two, [two]), steps_NV[1:])
        assert np.array_equal(read(model, by_two, [60, 61], 1), read(model, by_one, [60, 61], 1))
        for sequence in (by_one, by_two):
            model.rewind(sequence, len(sequence.ids) - 2)


def test_a_sequence_may_grow_to_the_end_beside_others(model: OnnxModel) -> None:
    patient, greedy = model.new_sequence(), model.new_sequence()
    read(model, patient, IDS[:3])
    for start in range(0, 180, 60):
        read(model, greedy, IDS)
        assert len(greedy.ids) == start + 60
    read(model, greedy, IDS[:19])
    model.read([after(patient, IDS[:16]), after(greedy, [50])])
    assert len(greedy.ids) == 200
    model.read([after(patient, [51, 52])])
    num_patient = len(patient.ids)
    with pytest.raises(MemberError, match="tokens do not fit its context") as caught:
        model.read([after(patient, IDS[:5]), after(greedy, [50])])
    assert caught.value.kind == "context"
    assert (len(patient.ids), len(greedy.ids)) == (num_patient, 200)


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_stay_none(model: OnnxModel, lost: float, monkeypatch: pytest.MonkeyPatch) -> None:
    embed = model._embed

    def broken(ids: list[int]) -> np.ndarray[Any, Any]:
        embeddings_NE = embed(ids)
        embeddings_NE[-1, 3] = lost
        return embeddings_NE

    monkeypatch.setattr(model, "_embed", broken)
    whole, damaged = model.read([after(model.new_sequence(), [50]) for _ in range(2)])
    assert np.isfinite(whole.numpy()).all()
    assert np.isnan(damaged.numpy()).all()


@pytest.mark.parametrize("name", [GRAPH_FILE, "layers.bin", "layout.json"])
def test_damaged_files_are_told(name: str, gguf: Path, directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    (tmp_path / name).write_bytes(b"no more")
    with pytest.raises(ModelLoadError, match="remove"):
        load(gguf, tmp_path)


def test_no_room_for_sequences_is_told(gguf: Path, directory: Path, tmp_path: Path) -> None:
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    replace(Layout.load(directory), context_length=1 << 50).save(tmp_path)
    with pytest.raises(ModelLoadError, match="no memory for 4 sequences of 1,000,000,000,000,000 ids"):
        OnnxModel("tiny", (gguf, tmp_path), context_length=10**15, max_sequences=4)


def test_no_context_is_longer_than_the_models_own(gguf: Path, directory: Path) -> None:
    own = Layout.load(directory).context_length
    with closing(OnnxModel("tiny", (gguf, directory), context_length=own + 100, max_sequences=1)) as model:
        assert model.context_length == own


def test_memory_is_taken_as_sequences_grow() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = np.frombuffer(zeros(1 << 30), np.float32).reshape(1 << 14, 1 << 14)
    memory[::1024, 0] = 1
    assert float(memory[:, :4].sum()) == 16
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"rope.scaling.factor": 2.0}, "a field rope.scaling.factor"),
        ({"expert_count": 8}, "a field expert_count"),
        ({"attention.value_length": 32}, "heads are of several widths"),
        ({"rope.dimension_count": 0}, "heads are of several widths"),
        ({"attention.sliding_window": 8}, "a field attention.sliding_window"),
        ({"block_count": 6}, "beside the known ones, blk.6"),
        ({"block_count": 8}, "lacks, or has beside the known ones, blk.7"),
    ],
)
def test_what_does_more_is_left_alone(fields: dict[str, Any], reason: str, llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(Unsuited, match=reason):
        architecture_of(save_random_gguf(llama_dir, tmp_path / "other.gguf", "llama", fields))


def test_narrow_heads_are_left_alone(llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(Unsuited, match="8 wide, no multiple of 16"):
        architecture_of(save_llama_gguf(llama_dir, tmp_path / "other.gguf", kind="Q8_0"))


def test_a_file_cut_short_ends_an_answer_not_the_process(gguf: Path, directory: Path, tmp_path: Path) -> None:
    own_gguf, own_directory = Path(shutil.copy(gguf, tmp_path)), Path(shutil.copytree(directory, tmp_path / "onnx"))
    with closing(load(own_gguf, own_directory)) as model:
        os.truncate(own_gguf, 100)
        with pytest.raises(OSError, match="cut short"):
            read(model, model.new_sequence(), IDS, 1)
    os.truncate(own_directory / WEIGHTS_FILE, 0)
    with pytest.raises(ModelLoadError):
        load(own_gguf, own_directory)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted as Linux counts it")
def test_a_sequence_that_is_freed_gives_its_memory_back(model: OnnxModel) -> None:
    sequences = [model.new_sequence() for _ in range(3)]
    for sequence in sequences:
        read(model, sequence, IDS, 1)
    caches = model._caches
    kept = caches[:, :, 1].copy()
    model.free(sequences[0])
    model.free(sequences[2])
    pages = mmap.PAGESIZE // 4
    for slot in (0, 2):
        for cache in caches[:, :, slot].reshape(-1, caches[0, 0, 0].size):
            assert not cache[pages:-pages].any()
    assert np.array_equal(caches[:, :, 1], kept), "others' stays"
    again = model.new_sequence()
    assert np.array_equal(read(model, again, IDS, 1), read(model, model.new_sequence(), IDS, 1))
