"""GGUF through transformers: the same model as its original, converted once; blocks have the values that gguf reads."""

from __future__ import annotations

import inspect
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

import gac_app.models.hf.conversion as gguf_conversion
from gac_app.errors import ModelLoadError
from gac_app.member_config import MemberConfig
from gac_app.models.gguf import _UNPACK, Unsuited, blocks_of
from gac_app.models.hf.conversion import converted
from gac_app.models.hf.model import TransformersModel
from gac_app.models.sources import ModelFiles
from tests.fakes import logits_after
from tests.models.conftest import load_files
from tests.models.tiny_gguf import save_llama_gguf

TEXT = "The capital of France is Paris, def f(x): return 日本"


@pytest.fixture
def gguf(llama_dir: Path, tmp_path: Path) -> Path:
    return save_llama_gguf(llama_dir, tmp_path / "tiny.gguf")


@pytest.mark.slow
def test_the_converted_model_is_its_original(gguf: Path, llama: TransformersModel, tmp_path: Path) -> None:
    member = MemberConfig(name="tiny", source=str(gguf))
    model = load_files(member, ModelFiles(gguf, "gguf"), tmp_path / "cache")
    ids = llama.encode_raw(TEXT)
    assert model.encode_raw(TEXT) == ids
    assert model.vocabulary.end_ids == llama.vocabulary.end_ids
    assert model.vocabulary.token_bytes[: len(llama.vocabulary) - 16] == llama.vocabulary.token_bytes[:-16]
    assert model.context_length == llama.context_length
    found, expected = (logits_after(one, ids, len(ids)) for one in (model, llama))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_file_is_converted_once_and_when_changed(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = converted(gguf, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(gguf_conversion, "_convert", lambda *_: pytest.fail("converted again"))
        assert converted(gguf, tmp_path) == first
    gguf.touch()
    assert converted(gguf, tmp_path) != first
    assert not list(tmp_path.glob("converted/*.making"))


def test_the_format_can_be_imported_while_a_file_is_converted() -> None:
    """Members load at once."""
    with gguf_conversion._lists_read_once():
        assert "read_gguf" in runpy.run_path(inspect.getfile(blocks_of))


@pytest.mark.parametrize("num_bytes", [0, 100, 5_000, -1_000])
def test_a_truncated_file_is_named_and_leaves_nothing(gguf: Path, tmp_path: Path, num_bytes: int) -> None:
    gguf.write_bytes(gguf.read_bytes()[:num_bytes])
    with pytest.raises(ModelLoadError, match=r"tiny\.gguf: transformers cannot read this GGUF file"):
        converted(gguf, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache" / "converted").iterdir() if path.is_dir()]


ROWS, BLOCKS = 3, 2
_HALVES = {  # where a block has its numbers of two bytes
    GGMLQuantizationType.Q4_1: (0, 2),
    GGMLQuantizationType.Q5_1: (0, 2),
    GGMLQuantizationType.Q4_K: (0, 2),
    GGMLQuantizationType.Q5_K: (0, 2),
    GGMLQuantizationType.Q6_K: (208,),
}


def any_bytes(kind: GGMLQuantizationType) -> np.ndarray:
    """Rows whose scales are numbers; all else in them is any byte."""
    rng = np.random.default_rng(kind.value)
    _, num_bytes = GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (ROWS, BLOCKS, num_bytes), dtype=np.uint8)
    for start in _HALVES.get(kind, (0,)):
        scales = rng.uniform(-2, 2, (ROWS, BLOCKS, 1)).astype(np.float16)
        data[..., start : start + 2] = scales.view(np.uint8)
    return data.reshape(ROWS, -1)


@pytest.mark.parametrize("kind", _UNPACK, ids=lambda kind: kind.name)
def test_the_values_are_the_files(kind: GGMLQuantizationType) -> None:
    data = any_bytes(kind)
    blocks = blocks_of(data, kind)
    assert blocks.weights.dtype == np.uint8
    assert blocks.weights.max() < 2**blocks.bits
    values = blocks.scales[..., None] * (blocks.weights.astype(np.float32) - 2 ** (blocks.bits - 1))
    if blocks.offsets is not None:
        values += blocks.offsets[..., None]
    expected = dequantize(data, kind)
    assert values.reshape(ROWS, -1) == pytest.approx(expected, rel=1e-6, abs=1e-6 * float(np.abs(expected).max()))


def test_what_it_does_not_know_is_told() -> None:
    with pytest.raises(Unsuited, match="matrices in F32"):
        blocks_of(np.zeros((2, 32), np.uint8), GGMLQuantizationType.F32)
