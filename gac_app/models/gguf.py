"""The GGUF file format for engines other than llama.cpp: metadata, tensors, quantised blocks.

ggml's quantised matrices become integers, scales and offsets: the same values, for other kernels. A row is cut into
blocks. A block's values are `scale * (weight - zero) + offset`, with `zero` half of 2 ** bits. The layouts are those of
ggml's `ggml-common.h`; `gguf.quants.dequantize` gives the values.

Shape suffixes: `N` rows, `B` blocks of a row, `K` values of a block.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType
from gguf.gguf_reader import GGUFReader  # models.hf replaces the name in gguf for a while
from gguf.quants import Q4_K

_MOST_ITEMS = 1024  # longer lists belong to a vocabulary and are skipped
_Bytes = np.ndarray[Any, Any]  # of uint8
_Floats = np.ndarray[Any, np.dtype[np.float32]]


class Unsuited(Exception):  # noqa: N818 (not an error: llama.cpp computes the file)
    """The file is better left to llama.cpp."""


def read_gguf(path: Path) -> GGUFReader:
    """A file's fields without its vocabulary, and its mapped tensors.

    Raises:
        Unsuited: it is not a whole model.
        anything: it is damaged; its loader will report that.
    """
    reader = _Reader(path)
    if "split.count" in reader.fields:
        raise Unsuited("it is a part of a model")
    return reader


class _Reader(GGUFReader):  # type: ignore[misc]
    """Skips the lists of a vocabulary, which take ten seconds to read and are not needed."""

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple[int, list[Any], list[int], list[GGUFValueType]]:
        if raw_type == GGUFValueType.ARRAY:
            kind, length = struct.unpack_from("<IQ", self.data, orig_offs)
            if length > _MOST_ITEMS:
                start = orig_offs + struct.calcsize("<IQ")
                return self._end_of(start, GGUFValueType(kind), length) - orig_offs, [], [], [GGUFValueType.ARRAY]
        return super()._get_field_parts(orig_offs, raw_type)  # type: ignore[no-any-return]

    def _end_of(self, start: int, kind: GGUFValueType, length: int) -> int:
        if kind is not GGUFValueType.STRING:
            return start + length * int(np.dtype(self.gguf_scalar_to_np[kind]).itemsize)
        data = memoryview(self.data)
        for _ in range(length):
            if start >= len(data):
                raise ValueError("a list goes on past the end of the file")
            start += 8 + int.from_bytes(data[start : start + 8], "little")
        return start


@dataclass(frozen=True, slots=True)
class Blocks:
    """A quantised matrix.

    Attributes:
        weights: `[N, B, K]`, below 2 ** bits.
        scales: `[N, B]`.
        offsets: `[N, B]`; None = all are zero.
        bits: 4 or 8.
    """

    weights: _Bytes
    scales: _Floats
    offsets: _Floats | None
    bits: int

    @property
    def kind(self) -> tuple[int, int, bool]:
        """What matrices must share to be joined."""
        return self.bits, self.weights.shape[-1], self.offsets is None

    @property
    def packed(self) -> _Bytes:
        """The weights; with four bits, two to a byte, the first in the lower half."""
        return self.weights if self.bits == 8 else self.weights[..., 0::2] | (self.weights[..., 1::2] << 4)

    @property
    def in_8_bits(self) -> Blocks:
        """The same values with weights of 8 bits."""
        return self if self.bits == 8 else replace(self, weights=self.weights + np.uint8(128 - 8), bits=8)


def blocks_of(data: np.ndarray[Any, Any], kind: GGMLQuantizationType) -> Blocks:
    """The blocks of a tensor's bytes `[N, bytes of a row]`. Raises Unsuited for other kinds of quantisation."""
    if kind not in _UNPACK:
        raise Unsuited(f"it has matrices in {kind.name}")
    num_bytes, unpack = _UNPACK[kind]
    return unpack(np.ascontiguousarray(data).reshape(len(data), -1, num_bytes))


def together(matrices: list[Blocks]) -> Blocks:
    """Matrices of one kind joined by rows."""
    offsets = [matrix.offsets for matrix in matrices if matrix.offsets is not None]
    return Blocks(
        np.concatenate([matrix.weights for matrix in matrices]),
        np.concatenate([matrix.scales for matrix in matrices]),
        np.concatenate(offsets) if offsets else None,
        matrices[0].bits,
    )


def _half(data: _Bytes) -> _Floats:
    """Half-precision numbers from pairs of bytes, along the last axis."""
    return np.ascontiguousarray(data).view("<f2").astype(np.float32)


def _halves(data: _Bytes) -> _Bytes:
    """The lower halves of these bytes, then the upper ones."""
    return np.concatenate([data & 15, data >> 4], axis=-1)


def _q8_0(data: _Bytes) -> Blocks:
    return Blocks(data[..., 2:] ^ 0x80, _half(data[..., :2])[..., 0], None, 8)


def _q4_0(data: _Bytes) -> Blocks:
    return Blocks(_halves(data[..., 2:]), _half(data[..., :2])[..., 0], None, 4)


def _q4_1(data: _Bytes) -> Blocks:
    scales, least = _half(data[..., :2])[..., 0], _half(data[..., 2:4])[..., 0]
    return Blocks(_halves(data[..., 4:]), scales, least + 8 * scales, 4)


def _five_bits(lower: _Bytes, fifth: _Bytes) -> _Bytes:
    """Weights whose fifth bits are stored separately, with 128 in place of 16."""
    weights: _Bytes = _halves(lower) | (np.unpackbits(fifth, axis=-1, bitorder="little") << 4)
    return weights + np.uint8(128 - 16)


def _q5_0(data: _Bytes) -> Blocks:
    return Blocks(_five_bits(data[..., 6:], data[..., 2:6]), _half(data[..., :2])[..., 0], None, 8)


def _q5_1(data: _Bytes) -> Blocks:
    scales, least = _half(data[..., :2])[..., 0], _half(data[..., 2:4])[..., 0]
    return Blocks(_five_bits(data[..., 8:], data[..., 4:8]), scales, least + 16 * scales, 8)


def _scales_of_k(data: _Bytes) -> tuple[_Floats, _Floats]:
    """Of the eight blocks in each of Q4_K's and Q5_K's: scales and least values."""
    factors = (numbers.reshape(*data.shape[:2], 8) for numbers in Q4_K.get_scale_min(data[..., 4:16].reshape(-1, 12)))
    scales, least = (_half(data[..., at : at + 2]) * factor for at, factor in zip((0, 2), factors, strict=True))
    return scales.reshape(len(data), -1), -least.reshape(len(data), -1)


def _lower_of_k(data: _Bytes) -> _Bytes:
    """Of four pairs of blocks: the first of a pair in the lower halves of its bytes."""
    pairs = data.reshape(*data.shape[:2], 4, 32)
    return np.stack([pairs & 15, pairs >> 4], axis=-2).reshape(len(data), -1, 32)


def _q4_k(data: _Bytes) -> Blocks:
    scales, least = _scales_of_k(data)
    return Blocks(_lower_of_k(data[..., 16:]), scales, least + 8 * scales, 4)


def _q5_k(data: _Bytes) -> Blocks:
    scales, least = _scales_of_k(data)
    fifth = np.stack([(data[..., 16:48] >> bit) & 1 for bit in range(8)], axis=-2).reshape(len(data), -1, 32)
    weights = (_lower_of_k(data[..., 48:]) | (fifth << 4)) + np.uint8(128 - 16)
    return Blocks(weights, scales, least + 16 * scales, 8)


def _q6_k(data: _Bytes) -> Blocks:
    lower = _halves(data[..., :128].reshape(*data.shape[:2], 2, 64)).reshape(*data.shape[:2], 2, 4, 32)
    two_bits = data[..., 128:192].reshape(*data.shape[:2], 2, 1, 32)
    upper = np.concatenate([(two_bits >> bit) & 3 for bit in (0, 2, 4, 6)], axis=-2)
    weights = (lower | (upper << 4)).reshape(len(data), -1, 16) + np.uint8(128 - 32)
    scales = np.ascontiguousarray(data[..., 192:208]).view(np.int8) * _half(data[..., 208:])
    return Blocks(weights, scales.astype(np.float32).reshape(len(data), -1), None, 8)


_UNPACK: dict[GGMLQuantizationType, tuple[int, Callable[[_Bytes], Blocks]]] = {  # with the bytes of a block
    GGMLQuantizationType.Q8_0: (34, _q8_0),
    GGMLQuantizationType.Q4_0: (18, _q4_0),
    GGMLQuantizationType.Q4_1: (20, _q4_1),
    GGMLQuantizationType.Q5_0: (22, _q5_0),
    GGMLQuantizationType.Q5_1: (24, _q5_1),
    GGMLQuantizationType.Q4_K: (144, _q4_k),
    GGMLQuantizationType.Q5_K: (176, _q5_k),
    GGMLQuantizationType.Q6_K: (210, _q6_k),
}
