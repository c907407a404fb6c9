"""GGUF models through onnxruntime: the same numbers as llama.cpp's, with little cost for more rows in a pass.

A sequence's logits depend neither on what else is in its passes nor on how its ids are cut into passes (see `graph`).
The trial of a file tells whether that holds on this machine.

Shape suffixes: see `graph`.
"""

from __future__ import annotations

import math
import mmap
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from gac_app.errors import ModelLoadError
from gac_app.models.llama_cpp.gguf_model import DescribedGguf
from gac_app.models.onnx.architecture import GRAPH_FILE, Layout
from gac_app.models.onnx.passes import Chunk, FloatArray, Kind, Pass
from gac_app.models.sequence import ForwardRequest

MOST_SHARED = 2  # ids per sequence in a pass with other sequences
# Attention gets at least two ids of a sequence: a single id has another kernel, with other last bits.
_LEAST_PLACES = 2
# A product of more than 128 values is summed in two halves, unless the sequence has 64 ids or fewer.
_HALVED_WIDTH, _HALVED_IDS = 128, 65
_NEAR_STEP = 128  # ids: the part of a cache that window layers get begins at a multiple of this
_MOST_PREPARED = 300  # kinds of passes that are kept: steps of eight slots give 255, and a few more with windows


class OnnxModel(DescribedGguf):
    """A GGUF file that has a graph, with the file's embeddings, and KV caches for some sequences.

    Args:
        name: the member's name.
        files: the .gguf file, and the directory derived from it (see `parts`).
        options: see `GgufModel`. Sequences take memory as they grow.

    Raises:
        ModelLoadError: the file, or a file derived from it, cannot be loaded, or there is no memory for sequences.
    """

    engine = "onnxruntime cpu"
    max_batched_ids = MOST_SHARED  # a longer read has a pass of its own

    def __init__(self, name: str, files: tuple[Path, Path], **options: Any) -> None:
        gguf, directory = files
        super().__init__(name, gguf, **options)
        try:
            self._layout = layout = Layout.load(directory)
            # Embeddings are read, not mapped: if the file is truncated, an answer fails and not the process.
            self._file = gguf.open("rb", buffering=0)
            self._session = _session(directory / GRAPH_FILE, self.num_threads or 1)
        except Exception as error:  # a damaged file can fail anywhere in several libraries
            raise ModelLoadError(
                f"{gguf.name}: what is kept of it cannot be read; remove {directory}: {error}"
            ) from error
        self._kind = GGMLQuantizationType(layout.kind)
        self.is_batch_invariant, self.is_chunk_invariant = layout.is_batch_invariant, layout.is_chunk_invariant
        self.context_length = min(self.context_length, layout.context_length)
        self.bytes_per_id = 4 * layout.num_layers * 2 * layout.num_heads * layout.head_width
        length = self.context_length + _HALVED_IDS  # more than any sequence needs: attention's places may be padded
        try:
            shape = layout.num_layers, 2, self.max_sequences, layout.num_heads, length, layout.head_width
            self._memory = zeros(4 * math.prod(shape))
            self._caches: FloatArray = np.frombuffer(self._memory, np.float32).reshape(shape)
        except (OSError, OverflowError) as error:
            what = f"{self.max_sequences} sequences of {self.context_length:,} ids"
            raise ModelLoadError(f"{gguf.name}: there is no memory for {what}: {error}") from error
        self._tables: dict[str, FloatArray] = {}
        for number, theta in enumerate(layout.rope_theta):
            self._tables |= _rope_tables(number, theta, length, layout.head_width)
        self._num_tokens = int(self._session.get_outputs()[0].shape[1])
        self._passes: dict[tuple[tuple[Kind, ...], int, int], Pass] = {}  # by chunks, `_num_places` and `_near`
        self._logits_WV: FloatArray = np.empty((self.max_sequences * MOST_SHARED, self._num_tokens), np.float32)

    def copy(self, slot: int, other: int, length: int) -> None:
        self._caches[:, :, other, :, :length] = self._caches[:, :, slot, :, :length]

    def truncate(self, slot: int, length: int) -> None:
        if length:  # later ids overwrite what is left
            return
        for cache in self._caches[:, :, slot].reshape(-1, *self._caches.shape[3:]):
            _give_back(self._memory, cache.ctypes.data - self._caches.ctypes.data, cache.nbytes)

    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        chunks = [Chunk(one.sequence.slot, one.start, one.uncomputed, one.num_logits) for one in requests]
        found = {chunk.slot: self._read_long(chunk) for chunk in chunks if len(chunk.ids) > MOST_SHARED}
        steps = sorted(chunk for chunk in chunks if chunk.slot not in found)
        if steps:
            logits_WV, end = self._run(steps), 0
            for step in steps:
                end += step.num_logits
                found[step.slot] = logits_WV[end - step.num_logits : end]
        return [torch.from_numpy(found[chunk.slot]) for chunk in chunks]

    def _read_long(self, whole: Chunk) -> FloatArray:
        """In parts, since a pass needs memory for its intermediate values."""
        num_unwanted = len(whole.ids) - whole.num_logits
        parts = []
        for start in range(0, len(whole.ids), self.chunk_size):
            ids = whole.ids[start : start + self.chunk_size]
            num_logits = min(len(ids), max(0, start + len(ids) - num_unwanted))
            parts.append(self._run([Chunk(whole.slot, whole.start + start, ids, num_logits)]).copy())
        return np.concatenate(parts)

    def _run(self, chunks: list[Chunk]) -> FloatArray:
        """One forward pass over chunks of at most `MOST_SHARED` ids each, by slot, or over a single longer one.

        Returns:
            logits chunk after chunk, `[W, V]`, valid until the next call. NaN if the computation failed.
        """
        key = tuple(chunk.kind for chunk in chunks), self._num_places(chunks), self._near(chunks)
        prepared = self._passes.get(key)
        if prepared is None:
            num_wanted = sum(chunk.num_logits for chunk in chunks)
            is_small = num_wanted <= len(self._logits_WV)  # otherwise its memory is not kept
            prepared = Pass(
                self._session,
                self._layout,
                *key,
                caches=self._caches,
                tables=self._tables,
                logits_WV=self._logits_WV[:num_wanted]
                if is_small
                else np.empty((num_wanted, self._num_tokens), np.float32),
            )
            if len(chunks[0].ids) <= MOST_SHARED:
                if len(self._passes) == _MOST_PREPARED:
                    self._passes.clear()
                self._passes[key] = prepared
        prepared.embeddings_NE[:] = self._embed([token_id for chunk in chunks for token_id in chunk.ids])
        prepared.run([chunk.start for chunk in chunks])
        return prepared.logits_WV

    def _embed(self, ids: list[int]) -> FloatArray:
        """The input of the first layer, `[N, E]`. Raises OSError if the file was truncated."""
        layout = self._layout
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
        layout = self._layout
        if not layout.sliding_layers or len(chunks) > 1 or layout.num_heads > 1:
            return 0
        return max(0, chunks[0].start - layout.window + 1) // _NEAR_STEP * _NEAR_STEP

    def _num_places(self, chunks: list[Chunk]) -> int:
        """Places of each sequence in attention. Places after its ids hold padding, which later ids overwrite."""
        least = _LEAST_PLACES
        if self._layout.head_width > _HALVED_WIDTH:
            least = max(least, min(_HALVED_IDS, self.context_length + 1) - min(chunk.start for chunk in chunks))
        return max(least, *(len(chunk.ids) for chunk in chunks))

    def close(self) -> None:
        self._file.close()
        super().close()


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


def _rope_tables(number: int, theta: float, length: int, width: int) -> dict[str, FloatArray]:
    """Cosines and sines of rotary embeddings, `[positions, width / 2]`, by the name of the graph's input."""
    angles = np.outer(np.arange(length), theta ** (-np.arange(0, width, 2) / width))
    return {f"cos_{number}": np.cos(angles).astype(np.float32), f"sin_{number}": np.sin(angles).astype(np.float32)}


def zeros(num_bytes: int) -> mmap.mmap:
    """Zeros that take memory when they are written to, in small pages. NumPy's own use pages of two megabytes."""
    if sys.platform == "win32":
        return mmap.mmap(-1, num_bytes)
    memory = mmap.mmap(-1, num_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux":
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory


def _give_back(memory: mmap.mmap, start: int, num_bytes: int) -> None:
    """Release the whole pages of a part, if the system can; they become zeros."""
    first, end = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, (start + num_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if hasattr(mmap, "MADV_DONTNEED") and first < end:
        memory.madvise(mmap.MADV_DONTNEED, first, end - first)
