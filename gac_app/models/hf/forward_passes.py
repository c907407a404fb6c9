"""Forward passes of a transformers model: shared by several sequences if that gives the same results, else one each.

Shape suffixes: `N` positions, `V` the model's vocabulary.
"""

from __future__ import annotations

import copy
import inspect
import logging
from abc import ABC, abstractmethod
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch

from gac_app.models.hf.attention import ATTENTION, Chunk, KeyValueCache, PackedCache, register

# Reads of at most this many ids share a pass. For longer ones, arithmetic outweighs reading the weights, so sharing
# saves nothing.
SHARED_IDS = 32
_log = logging.getLogger(__name__)

# These scale the positions of a whole pass by its longest sequence.
_UNPACKABLE_ROPE = {"dynamic", "longrope"}
_PROBE_IDS = ((1, 2, 3), (4,))  # of two sequences, each read twice
# Total variation. Half precision alone gave up to 0.04; a model that mixes up neighbouring rows gives almost 1.
_PROBE_BOUND = 0.3


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


Cache = KeyValueCache | LibraryCache  # of one sequence


class ForwardPasses(ABC):
    """Runs a transformers model.

    Attributes:
        max_batched_ids: the most ids of a read that shares a pass with others.
        new_cache: of a sequence.
    """

    max_batched_ids: int
    new_cache: type[Cache]

    def __init__(self, model: Any) -> None:
        self._model = model
        parameters = inspect.signature(model.forward).parameters
        # transformers 5.2x renamed it; models that bring their own code keep the old name.
        self._cache_argument = "cache" if "cache" in parameters else "past_key_values"
        self._can_spare_head = "logits_to_keep" in parameters

    @abstractmethod
    def run(self, chunks: list[Chunk]) -> list[torch.Tensor]:
        """Per chunk, logits [num_logits, V] in the model's precision, on the device of its head."""


class PackedPasses(ForwardPasses):
    """Short reads share one pass, longer ones have one each. Nothing is padded."""

    max_batched_ids = SHARED_IDS
    new_cache = KeyValueCache

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        # An index must be on the same device as the tensor, which differs in a model spread over several devices.
        self._can_pick_rows = len(set(getattr(model, "hf_device_map", {}).values())) <= 1

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
    new_cache = LibraryCache

    def run(self, chunks: list[Chunk]) -> list[torch.Tensor]:
        return [self._pass(chunk) for chunk in chunks]

    def _pass(self, chunk: Chunk) -> torch.Tensor:
        options = {"logits_to_keep": chunk.num_logits} if self._can_spare_head else {}
        ids = _on_device([chunk.ids], self._model.device)
        result = self._model(input_ids=ids, use_cache=True, **{self._cache_argument: chunk.cache.states}, **options)
        logits_NV: torch.Tensor = result.logits[0, -chunk.num_logits :]
        return logits_NV


def _on_device(numbers: Any, device: torch.device) -> torch.Tensor:
    """Integers as a tensor on `device`; the host does not wait for a GPU."""
    tensor = torch.tensor(numbers, dtype=torch.int64)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def passes_for(name: str, model: Any) -> ForwardPasses:
    """Chooses how to run a model's passes, and sets the attention that they need.

    A model's code may do anything with a cache or a mask. So packing is used only if it gives the library's own results
    for a few ids.
    """
    single = SinglePasses(model)
    if not _may_pack(model):
        _log.info("%s: its sequences are read one after the other", name)
        return single
    own_attention = model.config._attn_implementation
    try:
        with torch.inference_mode():
            expected = _probed(single, 1)
            register()
            model.set_attn_implementation(ATTENTION)
            packed = PackedPasses(model)
            distance = _distance(_probed(packed, 2), expected)
        reason = f"off by {distance:.2f}"
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        distance, reason = 1.0, f"{type(error).__name__}: {error}"
    if distance <= _PROBE_BOUND:
        return packed
    _log.warning(
        "%s: its sequences are read one after the other, since it does not support a shared pass (%s)", name, reason
    )
    model.set_attn_implementation(own_attention)
    return single


def _may_pack(model: Any) -> bool:
    """Whether attention and masks are the library's own, and positions can be passed in."""
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    kinds = {part.get("rope_type") for part in (rope, *rope.values()) if isinstance(part, dict)}
    return (
        model.config._attn_implementation in ("sdpa", ATTENTION)  # a caller's model may serve a second ensemble
        and model._supports_attention_backend
        and "position_ids" in inspect.signature(model.forward).parameters
        and not kinds & _UNPACKABLE_ROPE
    )


def _probed(passes: ForwardPasses, num_reads: int) -> list[torch.Tensor]:
    """Logits of two short sequences, each twice its ids, read at once or in two parts."""
    caches, times = [passes.new_cache() for _ in _PROBE_IDS], 2 // num_reads
    parts = [
        passes.run([Chunk(cache, ids * times, len(ids) * times) for cache, ids in zip(caches, _PROBE_IDS, strict=True)])
        for _ in range(num_reads)
    ]
    return [torch.cat(logits) for logits in zip(*parts, strict=True)]


def _distance(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The largest total variation between distributions after the same ids."""
    probs_NV, others_NV = (torch.cat(logits).float().softmax(1) for logits in (found, expected))
    return float((probs_NV - others_NV).abs().sum(1).max()) / 2
