"""GGUF models through onnxruntime: the same numbers as llama.cpp's, with little cost for more rows in a pass.

A sequence's logits depend neither on what else is in its passes nor on how its ids are cut into passes (see `graph`).
The trial of a file tells whether that holds on this machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from gac_app.models.base import Read
from gac_app.models.llama_cpp.gguf_model import GgufModel, GgufOptions
from gac_app.models.llama_cpp.library import load_weights
from gac_app.models.onnx.layers import MOST_SHARED, Chunk, FloatArray, OnnxLayers


class OnnxModel(GgufModel):
    """A GGUF file that has a graph.

    Args:
        name: the member's name.
        files: the .gguf file, and the directory derived from it (see `parts`).
        options: see `GgufModel`. Sequences take memory as they grow.

    Raises:
        ModelLoadError: the file, or a file derived from it, cannot be loaded.
    """

    engine = "onnxruntime cpu"
    max_batched_ids = MOST_SHARED  # longer reads do not share passes (see `OnnxLayers.read`)

    def __init__(self, name: str, files: tuple[Path, Path], **options: Unpack[GgufOptions]) -> None:
        path, directory = files
        self._described = load_weights(path, vocab_only=True)
        super().__init__(name, self._described, **options)
        self._layers = OnnxLayers(path, directory, self.num_threads or 1, self.max_sequences, self.context_length)
        self.context_length, self.bytes_per_id = self._layers.context_length, self._layers.bytes_per_id
        self.is_batch_invariant = self._layers.layout.is_batch_invariant
        self.is_chunk_invariant = self._layers.layout.is_chunk_invariant

    def copy(self, slot: int, other: int, length: int) -> None:
        self._layers.copy(slot, other, length)

    def truncate(self, slot: int, length: int) -> None:
        if not length:  # otherwise later ids overwrite it
            self._layers.forget(slot)

    def forward(self, reads: list[Read]) -> list[torch.Tensor]:
        found = {id(read): self._read_apart(read) for read in reads if read.sequence.num_uncomputed > MOST_SHARED}
        steps = [read for read in reads if id(read) not in found]
        if steps:
            steps.sort(key=lambda read: read.sequence.slot)
            logits_NV, end = self._layers.read([_chunk(read) for read in steps]), 0
            for read in steps:
                end += read.num_logits
                found[id(read)] = logits_NV[end - read.num_logits : end]
        return [torch.from_numpy(found[id(read)]) for read in reads]

    def _read_apart(self, read: Read) -> FloatArray:
        """Read in parts, since a pass needs memory for its intermediate values."""
        whole = _chunk(read)
        num_unwanted = len(whole.ids) - read.num_logits
        parts = []
        for start in range(0, len(whole.ids), self.chunk_size):
            ids = whole.ids[start : start + self.chunk_size]
            num_logits = min(len(ids), max(0, start + len(ids) - num_unwanted))
            parts.append(self._layers.read([Chunk(whole.slot, whole.start + start, ids, num_logits)]).copy())
        return np.concatenate(parts)

    def close(self) -> None:
        self._layers.close()
        self._lib.llama_model_free(self._described)


def _chunk(read: Read) -> Chunk:
    sequence = read.sequence
    return Chunk(sequence.slot, sequence.num_computed, sequence.uncomputed, read.num_logits)
