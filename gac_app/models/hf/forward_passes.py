"""Forward passes of a transformers model: shared by several sequences if the model allows it, else one each.

Shape suffixes: `N` positions, `V` the model's vocabulary.
"""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from dataclasses import replace
from itertools import accumulate
from typing import Any, Protocol

import torch

from gac_app.models.hf.attention import Chunk, PackedCache
from gac_app.models.hf.cache import KeyValueCache

# Reads of at most this many ids share a pass. For longer ones, arithmetic outweighs reading the weights, so sharing
# saves nothing.
SHARED_IDS = 32


class Cache(Protocol):
    """A model's cache of one sequence."""

    def rewind(self, length: int) -> None:
        """Keep only the first `length` positions, whatever a pass that failed has left."""

    def fork(self) -> Cache: ...


class ForwardPasses(ABC):
    """Runs a transformers model.

    Attributes:
        max_batched_ids: the most ids of a read that shares a pass with others.
    """

    max_batched_ids: int

    def __init__(self, model: Any) -> None:
        self._model = model
        parameters = inspect.signature(model.forward).parameters
        # transformers 5.2x renamed it; models that bring their own code keep the old name.
        self._cache_argument = "cache" if "cache" in parameters else "past_key_values"
        self._can_spare_head = "logits_to_keep" in parameters

    @abstractmethod
    def new_cache(self) -> Cache: ...

    @abstractmethod
    def run(self, chunks: list[Chunk]) -> list[torch.Tensor]:
        """Per chunk, logits [num_logits, V] in the model's precision, on the device of its head."""


class PackedPasses(ForwardPasses):
    """Short reads share one pass, longer ones have one each. Nothing is padded."""

    max_batched_ids = SHARED_IDS

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        # An index must be on the same device as the tensor, which differs in a model spread over several devices.
        self._can_pick_rows = len(set(getattr(model, "hf_device_map", {}).values())) <= 1

    def new_cache(self) -> KeyValueCache:
        return KeyValueCache()

    def run(self, chunks: list[Chunk]) -> list[torch.Tensor]:
        short = [i for i, chunk in enumerate(chunks) if len(chunk.ids) <= SHARED_IDS]
        groups = [[i] for i, chunk in enumerate(chunks) if len(chunk.ids) > SHARED_IDS]
        found: dict[int, torch.Tensor] = {}
        for group in (*groups, short) if short else groups:
            found |= zip(group, self._pass([chunks[i] for i in group]), strict=True)
        return [found[i] for i in range(len(chunks))]

    def _pass(self, chunks: list[Chunk]) -> list[torch.Tensor]:
        starts = accumulate((len(chunk.ids) for chunk in chunks), initial=0)
        chunks = [replace(chunk, start=start) for chunk, start in zip(chunks, starts, strict=False)]
        cache = PackedCache(chunks)
        ids = [token_id for chunk in chunks for token_id in chunk.ids]
        positions = [position for chunk in chunks for position in range(chunk.cache.length, chunk.length)]
        rows = [row for chunk in chunks for row in range(chunk.end - chunk.num_logits, chunk.end)]
        on_device = _on_device([ids, positions], self._model.device)
        logits_NV = self._model(
            input_ids=on_device[:1],
            position_ids=on_device[1:],
            use_cache=True,
            packed=cache,
            **{self._cache_argument: cache},
            **self._kept(rows, len(ids)),
        ).logits[0]
        for chunk in chunks:
            chunk.cache.length = chunk.length
        if len(logits_NV) == len(rows):
            return list(logits_NV.split([chunk.num_logits for chunk in chunks]))
        return [logits_NV[chunk.end - chunk.num_logits : chunk.end] for chunk in chunks]

    def _kept(self, rows: list[int], num_ids: int) -> dict[str, Any]:
        """The argument that skips the head for ids whose logits are not wanted."""
        if not self._can_spare_head or len(rows) == num_ids:
            return {}
        if rows[0] == num_ids - len(rows):
            return {"logits_to_keep": len(rows)}
        return {"logits_to_keep": _on_device(rows, self._model.device)} if self._can_pick_rows else {}


class SinglePasses(ForwardPasses):
    """One read after another, with the library's own cache; every layer keeps all positions."""

    max_batched_ids = 0

    def new_cache(self) -> LibraryCache:
        return LibraryCache()

    def run(self, chunks: list[Chunk]) -> list[torch.Tensor]:
        return [self._pass(chunk) for chunk in chunks]

    def _pass(self, chunk: Chunk) -> torch.Tensor:
        options = {"logits_to_keep": chunk.num_logits} if self._can_spare_head else {}
        ids = _on_device([chunk.ids], self._model.device)
        result = self._model(input_ids=ids, use_cache=True, **{self._cache_argument: chunk.cache.states}, **options)
        logits_NV: torch.Tensor = result.logits[0, -chunk.num_logits :]
        return logits_NV


class LibraryCache:
    """transformers' own cache of one sequence."""

    def __init__(self) -> None:
        from transformers import DynamicCache

        self.states = DynamicCache()  # no config given, so that every layer keeps all positions

    @property
    def length(self) -> int:
        return int(self.states.get_seq_length())

    def rewind(self, length: int) -> None:
        for layer in self.states.layers:  # a pass that failed has reached only some of them
            layer.crop(min(0, length - layer.get_seq_length()))

    def fork(self) -> LibraryCache:
        return copy.deepcopy(self)


def _on_device(numbers: Any, device: torch.device) -> torch.Tensor:
    """Integers as a tensor on `device`; the host does not wait for a GPU."""
    tensor = torch.tensor(numbers, dtype=torch.int64)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
