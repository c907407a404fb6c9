"""Runs the graph of a GGUF file's layers, and holds what it needs beside its weights: embeddings, and KV caches.

Shape suffixes: see `graph`.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from gac_app.errors import ModelLoadError
from gac_app.models.hardware import in_large_pages
from gac_app.models.onnx.layout import GRAPH_FILE, WEIGHTS_FILE, Layout

MOST_SHARED = 2  # ids per sequence in a pass with other sequences
# Attention gets at least two ids of a sequence: a single id has another kernel, with other last bits.
_LEAST_PLACES = 2
# A product of more than 128 values is summed in two halves, unless the sequence has 64 ids or fewer.
_HALVED_WIDTH, _HALVED_IDS = 128, 65
_NEAR_STEP = 128  # ids: the part of a cache that window layers get begins at a multiple of this
_MOST_PREPARED = 300  # kinds of passes that are kept: steps of eight slots give 255, and a few more with windows

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
_Kind = tuple[int, int, int]  # of a chunk: slot, number of ids, number of logits wanted


def zeros(num_bytes: int) -> mmap.mmap:
    """Zeros that take memory when they are written to, in small pages. NumPy's own use pages of two megabytes."""
    if sys.platform == "win32":
        return mmap.mmap(-1, num_bytes)
    memory = mmap.mmap(-1, num_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux":
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory


def give_back(memory: mmap.mmap, start: int, num_bytes: int) -> None:
    """Release the whole pages of a part, if the system can; they become zeros."""
    first, end = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, (start + num_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if hasattr(mmap, "MADV_DONTNEED") and first < end:
        memory.madvise(mmap.MADV_DONTNEED, first, end - first)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Ids to read of one sequence, after `start` cached ones. The logits of the last `num_logits` are wanted."""

    slot: int
    start: int
    ids: Sequence[int]
    num_logits: int = 1

    @property
    def kind(self) -> _Kind:
        return self.slot, len(self.ids), self.num_logits


class OnnxLayers:
    """A graph, the GGUF file's embeddings, and KV caches for some sequences.

    Args:
        gguf: the whole file.
        directory: the files derived from it (see `parts`).
        num_threads: threads of one forward pass.
        num_slots: sequences held at once. Their memory grows with them.
        context_length: most ids per sequence, limited by the model's training length.

    Attributes:
        context_length: most ids per sequence.
        bytes_per_id: of keys and values.

    Raises:
        ModelLoadError: the derived files cannot be read, or there is no memory for sequences.
    """

    def __init__(self, gguf: Path, directory: Path, num_threads: int, num_slots: int, context_length: int) -> None:
        try:
            self.layout = layout = Layout.load(directory)
            # Embeddings are read, not mapped: if the file is truncated, an answer fails and not the process.
            self._file = gguf.open("rb", buffering=0)
            if gguf.stat().st_size < layout.offset + layout.num_rows * layout.row_bytes:
                raise ValueError(f"{gguf.name} is shorter than it was")
            with in_large_pages(directory / WEIGHTS_FILE, self):
                self._session = _session(directory / GRAPH_FILE, num_threads)
        except Exception as error:  # a damaged file can fail anywhere in several libraries
            raise ModelLoadError(
                f"{gguf.name}: what is kept of it cannot be read; remove {directory}: {error}"
            ) from error
        self._kind = GGMLQuantizationType(layout.kind)
        self.context_length = min(context_length, layout.context_length)
        self.bytes_per_id = 4 * layout.num_layers * 2 * layout.num_heads * layout.head_width
        length = self.context_length + _HALVED_IDS  # more than any sequence needs: attention's places may be padded
        try:
            shape = layout.num_layers, 2, num_slots, layout.num_heads, length, layout.head_width
            self._memory = zeros(4 * math.prod(shape))
            self._caches: FloatArray = np.frombuffer(self._memory, np.float32).reshape(shape)
        except (OSError, OverflowError) as error:
            what = f"{num_slots} sequences of {self.context_length:,} ids"
            raise ModelLoadError(f"{gguf.name}: there is no memory for {what}: {error}") from error
        self._tables = [_rope_tables(theta, length, layout.head_width) for theta in layout.rope_theta]
        self._width = int(self._session.get_inputs()[0].shape[1])
        logits, _, *caches = self._session.get_outputs()
        self._num_tokens = int(logits.shape[1])
        self._cache_outputs = [output.name for output in caches]
        self._steps: dict[tuple[tuple[_Kind, ...], int, int], _Prepared] = {}  # by chunks, `_near` and `_num_places`
        self._logits_WV = np.empty((num_slots * MOST_SHARED, self._num_tokens), np.float32)

    def read(self, chunks: list[Chunk]) -> FloatArray:
        """One forward pass: one or two ids of each of several sequences, or many ids of one.

        Args:
            chunks: of at most `MOST_SHARED` ids each, or a single one.

        Returns:
            logits chunk after chunk, `[W, V]`, valid until the next call. NaN if the computation failed.
        """
        key = kinds, near, num_places = (
            tuple(chunk.kind for chunk in chunks),
            self._near(chunks),
            self._num_places(chunks),
        )
        prepared = self._steps.get(key)
        if prepared is None:
            prepared = self._prepared(kinds, near, num_places)
            if len(chunks[0].ids) <= MOST_SHARED:
                if len(self._steps) == _MOST_PREPARED:
                    self._steps.clear()
                self._steps[key] = prepared
        prepared.inputs["embeddings"][:] = self._embed([token_id for chunk in chunks for token_id in chunk.ids])
        prepared.attention.tell(np.array([chunk.start for chunk in chunks]), near)
        self._session.run_with_iobinding(prepared.binding)
        for row, total in enumerate(prepared.sums_W.tolist()):
            if not math.isfinite(total):  # NaN rounded to 8 bits would become a number
                prepared.logits_WV[row] = np.nan
        return prepared.logits_WV

    def copy(self, slot: int, other: int, length: int) -> None:
        """Copy the first `length` ids of this slot's cache to another slot."""
        self._caches[:, :, other, :, :length] = self._caches[:, :, slot, :, :length]

    def forget(self, slot: int) -> None:
        """Free a slot's memory."""
        for cache in self._caches[:, :, slot].reshape(-1, *self._caches.shape[3:]):
            give_back(self._memory, cache.ctypes.data - self._caches.ctypes.data, cache.nbytes)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _embed(self, ids: list[int]) -> FloatArray:
        """The input of the first layer, `[N, E]`. Raises OSError if the file was truncated."""
        layout = self.layout
        rows = np.empty((len(ids), layout.row_bytes), np.uint8)
        for row, token_id in zip(rows, ids, strict=True):
            self._file.seek(layout.offset + token_id * layout.row_bytes)
            if self._file.readinto(row.data) != layout.row_bytes:
                raise OSError("the model's file has been cut short; restart with the whole file")
        embeddings_NE: FloatArray = dequantize(rows, self._kind)
        return embeddings_NE * np.float32(layout.scale) if layout.scale != 1 else embeddings_NE

    def _near(self, chunks: list[Chunk]) -> int:
        """The first cached position that window layers get: 0, or one before their window.

        They get the middle of a cache, which must be contiguous memory: that is so for a single sequence and head.
        """
        layout = self.layout
        if not layout.sliding_layers or len(chunks) > 1 or layout.num_heads > 1:
            return 0
        return max(0, chunks[0].start - layout.window + 1) // _NEAR_STEP * _NEAR_STEP

    def _num_places(self, chunks: list[Chunk]) -> int:
        """Places of each sequence in attention. Places after its ids hold padding, which later ids overwrite."""
        least = _LEAST_PLACES
        if self.layout.head_width > _HALVED_WIDTH:
            least = max(least, min(_HALVED_IDS, self.context_length + 1) - min(chunk.start for chunk in chunks))
        return max(least, *(len(chunk.ids) for chunk in chunks))

    def _prepared(self, kinds: tuple[_Kind, ...], near: int, num_places: int) -> _Prepared:
        """A pass over chunks of these kinds."""
        slots_P, num_ids_P, num_logits_P = (np.array(each) for each in zip(*kinds, strict=True))
        low, num_slots = slots_P.min(), int(np.ptp(slots_P)) + 1
        ends_P = np.cumsum(num_ids_P)
        wanted_W = np.concatenate([np.arange(end - num, end) for end, num in zip(ends_P, num_logits_P, strict=True)])
        attention = _Attention(
            slots_P - low, num_slots, num_ids_P, num_places, has_near=bool(self.layout.sliding_layers)
        )
        inputs: dict[str, np.ndarray[Any, Any]] = {
            "embeddings": np.zeros((ends_P[-1], self._width), np.float32),
            "wanted": wanted_W,
            **attention.inputs,
        }
        for number, tables in enumerate(self._tables):
            inputs |= {f"{kind}_{number}": table for kind, table in zip(("cos", "sin"), tables, strict=True)}
        is_small = len(wanted_W) <= len(self._logits_WV)  # otherwise its memory is not kept
        logits_WV = (
            self._logits_WV[: len(wanted_W)] if is_small else np.empty((len(wanted_W), self._num_tokens), np.float32)
        )
        sums_W = np.empty(len(wanted_W), np.float32)
        binding = self._session.io_binding()
        for name, values in inputs.items():
            binding.bind_input(name, *_place(values))
        for name, found in {"logits": logits_WV, "sums": sums_W}.items():
            binding.bind_output(name, *_place(found))
        names = iter(self._cache_outputs)
        for layer, caches in enumerate(self._caches):
            start = near if layer in self.layout.sliding_layers else 0
            parts = [_place(cache[low : low + num_slots, :, start:]) for cache in caches]
            for kind, part in zip(("keys", "values"), parts, strict=True):
                binding.bind_input(f"{kind}_{layer}", *part)
            for part in parts:  # written in place
                binding.bind_output(next(names), *part)
        return _Prepared(inputs, attention, logits_WV, sums_W, binding)


class _Attention:
    """Attention's inputs for a pass: the slot and place of each id.

    A chunk's last id fills its remaining places.

    Args:
        slots_P: slots of the chunks, counted from the first of `num_slots`. Slots between them idle.
        num_ids_P: ids of the chunks.
        num_places: of each chunk.
        has_near: there are window layers.

    Attributes:
        inputs: by name.
    """

    def __init__(self, slots_P: Ints, num_slots: int, num_ids_P: Ints, num_places: int, *, has_near: bool) -> None:
        self._has_near = has_near
        self._slots_P = slots_P
        self._places_T = np.arange(num_places)
        firsts_P = np.cumsum(num_ids_P) - num_ids_P
        rows_ST, counts_S = np.zeros((num_slots, num_places), np.int64), np.zeros(num_slots, np.int32)
        rows_ST[slots_P] = firsts_P[:, None] + np.minimum(self._places_T, num_ids_P[:, None] - 1)
        counts_S[slots_P] = num_places
        owners_N = np.repeat(np.arange(len(slots_P)), num_ids_P)
        self.inputs: dict[str, np.ndarray[Any, Any]] = {
            "rows": rows_ST,
            "counts": counts_S,
            "positions": np.zeros_like(rows_ST),
            "places": slots_P[owners_N] * num_places + np.arange(len(owners_N)) - firsts_P[owners_N],
        }
        for kind in ("", "near_") if has_near else ("",):
            self.inputs |= {f"{kind}lengths": np.zeros(num_slots, np.int32), f"{kind}most": np.ones((), np.int32)}

    def tell(self, starts_P: Ints, near: int) -> None:
        """Set the start of each chunk, and the first position that window layers get."""
        positions_PT = starts_P[:, None] + self._places_T
        self.inputs["positions"][self._slots_P] = positions_PT
        self.inputs["lengths"][self._slots_P] = positions_PT[:, -1]  # idle slots seem to hold one id
        self.inputs["most"][...] = self.inputs["lengths"].max() + 1
        for name in ("lengths", "most") if self._has_near else ():
            self.inputs[f"near_{name}"][...] = self.inputs[name] - near


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A kind of pass, with its input and output memory.

    Attributes:
        inputs: by name.
        attention: the inputs that change from pass to pass.
        logits_WV, sums_W: outputs.
    """

    inputs: dict[str, np.ndarray[Any, Any]]
    attention: _Attention
    logits_WV: FloatArray
    sums_W: FloatArray
    binding: Any


def _place(values: np.ndarray[Any, Any]) -> tuple[str, int, Any, tuple[int, ...], int]:
    """An array's memory, in the form that a binding takes."""
    return "cpu", 0, values.dtype.type, values.shape, values.ctypes.data


def _session(path: Path, num_threads: int) -> Any:
    import onnxruntime

    # The other attention kernel cuts sums differently as a sequence grows, and is slower for a step.
    os.environ["ORT_GQA_DISABLE_FLASH_ATTENTION"] = "1"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal errors; all others are raised
    options.enable_mem_pattern = False  # it would keep memory for every shape
    # A spinning thread would take a core from the other members.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _rope_tables(theta: float, length: int, width: int) -> tuple[FloatArray, FloatArray]:
    """Cosines and sines of rotary embeddings, `[positions, width / 2]`."""
    angles = np.outer(np.arange(length), theta ** (-np.arange(0, width, 2) / width))
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
