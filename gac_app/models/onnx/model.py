"""GGUF models through onnxruntime: the same numbers as llama.cpp's, with little cost for more rows in a pass.

A sequence's logits depend neither on what else is in its passes nor on how its ids are cut into passes (see `graph`).
The trial of a file tells whether that holds on this machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gac_app.models.base import Read, Sequence
from gac_app.models.llama_cpp.gguf_model import DEFAULT_CONTEXT_LENGTH, GgufModel
from gac_app.models.llama_cpp.library import load_weights
from gac_app.models.onnx.layers import MOST_SHARED, FloatArray, OnnxLayers, Span


class OnnxModel(GgufModel):
    """A GGUF file that has a graph.

    Args:
        name: the member's name.
        files: the .gguf file, and the directory derived from it (see `parts`).
        num_threads: threads of one forward pass.
        context_length: most ids per sequence; None = the model's training length, at most 4,096.
        max_sequences: sequences held at once. Their memory grows with them.
        chat_template: Jinja; None = the file's own, "" = none.

    Raises:
        ModelLoadError: the file, or a file derived from it, cannot be loaded.
    """

    engine = "onnxruntime cpu"
    device = torch.device("cpu")
    max_batched_ids = MOST_SHARED  # longer reads do not share passes (see `OnnxLayers.read`)
    chunk_size = 128

    def __init__(
        self,
        name: str,
        files: tuple[Path, Path],
        *,
        num_threads: int = 1,
        context_length: int | None = None,
        max_sequences: int = 8,
        chat_template: str | None = None,
    ) -> None:
        path, directory = files
        self._described = load_weights(path, vocab_only=True)
        super().__init__(name, self._described, max_sequences, chat_template)
        self.num_threads = num_threads
        wanted = context_length or DEFAULT_CONTEXT_LENGTH
        self._layers = OnnxLayers(path, directory, num_threads, max_sequences, wanted)
        self.context_length, self.bytes_per_id = self._layers.context_length, self._layers.bytes_per_id
        self.is_batch_invariant = self._layers.layout.is_batch_invariant
        self.is_chunk_invariant = self._layers.layout.is_chunk_invariant

    def _copy(self, sequence: Sequence, slot: int) -> None:
        self._layers.copy(sequence.slot, slot, sequence.num_cached)

    def _forget_from(self, slot: int, position: int) -> None:
        if not position:  # otherwise later ids overwrite it
            self._layers.forget(slot)

    def read(self, reads: list[Read]) -> list[torch.Tensor]:
        self.take_threads()
        if any(len(read.sequence.ids) > self.context_length for read in reads):
            raise self._full()
        steps = [read for read in reads if read.sequence.num_uncomputed <= MOST_SHARED]
        found = {id(read): self._read_apart(read) for read in reads if read not in steps}
        if steps:
            steps.sort(key=lambda read: read.sequence.slot)
            logits_NV, end = self._layers.read([_span(read) for read in steps]), 0
            for read in steps:
                end += read.num_logits
                found[id(read)] = logits_NV[end - read.num_logits : end]
        for read in reads:
            read.sequence.num_cached = len(read.sequence.ids)
        return [torch.from_numpy(found[id(read)]) for read in reads]

    def _read_apart(self, read: Read) -> FloatArray:
        """Read in parts, since a pass needs memory for its intermediate values."""
        whole = _span(read)
        num_unwanted = len(whole.ids) - read.num_logits
        parts = []
        for start in range(0, len(whole.ids), self.chunk_size):
            ids = whole.ids[start : start + self.chunk_size]
            num_logits = min(len(ids), max(0, start + len(ids) - num_unwanted))
            parts.append(self._layers.read([Span(whole.slot, whole.start + start, ids, num_logits)]).copy())
        return np.concatenate(parts)

    def close(self) -> None:
        self._layers.close()
        self._lib.llama_model_free(self._described)


def _span(read: Read) -> Span:
    sequence = read.sequence
    return Span(sequence.slot, sequence.num_cached, sequence.ids[sequence.num_cached :], read.num_logits)
