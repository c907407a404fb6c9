"""GGUF models through onnxruntime: the same numbers as llama.cpp's, with little cost for more rows in a pass.

A sequence's logits depend neither on what else is in its passes nor on how its ids are cut into passes (see `graph`).
The trial of a file tells whether that holds on this machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import numpy as np
import torch

from gac_app.models.llama_cpp.gguf_model import DescribedGguf, GgufOptions
from gac_app.models.onnx.layers import MOST_SHARED, Chunk, FloatArray, OnnxLayers
from gac_app.models.sequence import ForwardRequest


class OnnxModel(DescribedGguf):
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
        super().__init__(name, path, **options)
        self._layers = OnnxLayers(path, directory, self.num_threads or 1, self.max_sequences, self.context_length)
        self.context_length, self.bytes_per_id = self._layers.context_length, self._layers.bytes_per_id
        self.is_batch_invariant = self._layers.layout.is_batch_invariant
        self.is_chunk_invariant = self._layers.layout.is_chunk_invariant

    def copy(self, slot: int, other: int, length: int) -> None:
        self._layers.copy(slot, other, length)

    def truncate(self, slot: int, length: int) -> None:
        if not length:  # otherwise later ids overwrite it
            self._layers.forget(slot)

    def forward(self, requests: list[ForwardRequest]) -> list[torch.Tensor]:
        found = {id(one): self._read_apart(one) for one in requests if one.num_uncomputed > MOST_SHARED}
        steps = [one for one in requests if id(one) not in found]
        if steps:
            steps.sort(key=lambda one: one.sequence.slot)
            logits_NV, end = self._layers.read([_chunk(one) for one in steps]), 0
            for one in steps:
                end += one.num_logits
                found[id(one)] = logits_NV[end - one.num_logits : end]
        return [torch.from_numpy(found[id(one)]) for one in requests]

    def _read_apart(self, request: ForwardRequest) -> FloatArray:
        """Read in parts, since a pass needs memory for its intermediate values."""
        whole = _chunk(request)
        num_unwanted = len(whole.ids) - request.num_logits
        parts = []
        for start in range(0, len(whole.ids), self.chunk_size):
            ids = whole.ids[start : start + self.chunk_size]
            num_logits = min(len(ids), max(0, start + len(ids) - num_unwanted))
            parts.append(self._layers.read([Chunk(whole.slot, whole.start + start, ids, num_logits)]).copy())
        return np.concatenate(parts)

    def close(self) -> None:
        self._layers.close()
        super().close()


def _chunk(request: ForwardRequest) -> Chunk:
    return Chunk(request.sequence.slot, request.start, request.uncomputed, request.num_logits)
