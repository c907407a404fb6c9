"""ggml's blocks as whole numbers, scales and offsets have the values that gguf's own reading gives."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from gac_app.models.gguf import _UNPACK, Unsuited, blocks_of

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
