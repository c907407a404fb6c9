"""Forward passes of a transformers model: shared by several sequences if the model allows it, else one each.

Shape suffixes: `N` positions, `V` the model's vocabulary.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from gac_app.models.hf.attention import PackedCache, Stretch
from gac_app.models.hf.cache import KeyValueCache

# Reads of at most this many ids share a pass. For longer ones, arithmetic outweighs reading the weights, so sharing
# saves nothing.
SHARED_IDS = 32


class Cache(Protocol):
    """A model's cache of one sequence; `length` counts its ids."""

    @property
    def length(self) -> int: ...

    def rewind(self, length: int) -> None: ...

    def fork(self) -> Cache: ...


@dataclass(frozen=True, slots=True)
class Work:
    """Ids to read after those in `cache`, and the number of last ids whose logits are wanted."""

    cache: Any
    ids: list[int]
    num_logits: int


class ForwardPasses(Protocol):
    """Runs the model. After a failure, every cache still has its correct length.

    Attributes:
        max_batched_ids: the most ids of a read that shares a pass with others.
    """

    max_batched_ids: int

    def new_cache(self) -> Cache: ...

    def run(self, works: list[Work]) -> list[torch.Tensor]:
        """Per work, logits [num_logits, V] in the model's precision, on the device of its head."""


class PackedPasses:
    """Short reads share one pass, longer ones have one each. Nothing is padded."""

    max_batched_ids = SHARED_IDS

    def __init__(self, model: Any) -> None:
        self._model = model
        parameters = inspect.signature(model.forward).parameters
        self._cache_argument = _cache_argument(parameters)
        self._can_spare_head = "logits_to_keep" in parameters
        # An index must be on the same device as the tensor, which differs in a model spread over several devices.
        self._can_pick_rows = len(set(getattr(model, "hf_device_map", {}).values())) <= 1

    def new_cache(self) -> KeyValueCache:
        return KeyValueCache()

    def run(self, works: list[Work]) -> list[torch.Tensor]:
        short = [i for i, work in enumerate(works) if len(work.ids) <= SHARED_IDS]
        groups = [[i] for i, work in enumerate(works) if len(work.ids) > SHARED_IDS]
        found: dict[int, torch.Tensor] = {}
        for group in (*groups, short) if short else groups:
            found |= zip(group, self._pass([works[i] for i in group]), strict=True)
        return [found[i] for i in range(len(works))]

    def _pass(self, works: list[Work]) -> list[torch.Tensor]:
        stretches, start = [], 0
        for work in works:
            stretches.append(Stretch(work.cache, start, start + len(work.ids)))
            start = stretches[-1].end
        cache = PackedCache(stretches)
        ids = [token_id for work in works for token_id in work.ids]
        positions = [position for s in stretches for position in range(s.cache.length, s.length)]
        rows = [row for s, work in zip(stretches, works, strict=True) for row in range(s.end - work.num_logits, s.end)]
        on_device = _on_device([ids, positions], self._model.device)
        logits_NV = self._model(
            input_ids=on_device[:1],
            position_ids=on_device[1:],
            use_cache=True,
            packed=cache,
            **{self._cache_argument: cache},
            **self._kept(rows, len(ids)),
        ).logits[0]
        for stretch in stretches:
            stretch.cache.length = stretch.length
        if len(logits_NV) == len(rows):
            return list(logits_NV.split([work.num_logits for work in works]))
        return [logits_NV[s.end - work.num_logits : s.end] for s, work in zip(stretches, works, strict=True)]

    def _kept(self, rows: list[int], num_ids: int) -> dict[str, Any]:
        """The argument that skips the head for ids whose logits are not wanted."""
        if not self._can_spare_head or len(rows) == num_ids:
            return {}
        if rows[0] == num_ids - len(rows):
            return {"logits_to_keep": len(rows)}
        return {"logits_to_keep": _on_device(rows, self._model.device)} if self._can_pick_rows else {}


class SinglePasses:
    """One read after another, with the library's own cache; every layer keeps all positions."""

    max_batched_ids = 0

    def __init__(self, model: Any) -> None:
        self._model = model
        parameters = inspect.signature(model.forward).parameters
        self._cache_argument = _cache_argument(parameters)
        self._can_spare_head = "logits_to_keep" in parameters

    def new_cache(self) -> LibraryCache:
        return LibraryCache()

    def run(self, works: list[Work]) -> list[torch.Tensor]:
        return [self._pass(work) for work in works]

    def _pass(self, work: Work) -> torch.Tensor:
        options = {"logits_to_keep": work.num_logits} if self._can_spare_head else {}
        ids = _on_device([work.ids], self._model.device)
        try:
            result = self._model(input_ids=ids, use_cache=True, **{self._cache_argument: work.cache.states}, **options)
        except BaseException:
            # Only some layers hold the new ids: read everything again next time.
            work.cache.rewind(0)
            raise
        work.cache.length += len(work.ids)
        logits_NV: torch.Tensor = result.logits[0, -work.num_logits :]
        return logits_NV


class LibraryCache:
    """transformers' own cache of one sequence."""

    def __init__(self) -> None:
        self.length = 0
        self.states = _new_states()

    def rewind(self, length: int) -> None:
        if length == 0:
            self.states = _new_states()
        else:
            self.states.crop(length - self.length)
        self.length = length

    def fork(self) -> LibraryCache:
        return copy.deepcopy(self)


def _new_states() -> Any:
    from transformers import DynamicCache

    return DynamicCache()  # no config given, so that every layer keeps all positions


def _cache_argument(parameters: Any) -> str:
    # transformers 5.2x renamed it; models that bring their own code keep the old name.
    return "cache" if "cache" in parameters else "past_key_values"


def _on_device(numbers: Any, device: torch.device) -> torch.Tensor:
    """Integers as a tensor on `device`; the host does not wait for a GPU."""
    tensor = torch.tensor(numbers, dtype=torch.int64)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
