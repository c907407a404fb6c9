"""Packed forward passes: several sequences in one row of `[1, N]` ids, of which each sequence has a chunk.

Embedding, linear layers and head treat every position separately, so only attention has to know. Here each chunk
attends to its sequence's cache by the library's `sdpa`, without padding, masks between sequences, or joined caches.
What a layer sees (everything before, a sliding window) is decided by the library's own mask function, per chunk.

Shape suffixes: `A` attention heads, `H` key-value heads, `N` positions, `D` a head's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_SPARE_POSITIONS = 64
ATTENTION = "gac_packed"  # the name under which transformers knows this attention


class KeyValueCache:
    """Keys and values of one sequence: the first `length` positions, in every layer.

    Layers write after `length`, and the pass raises `length` when it is done. So a rewind only lowers `length`, and a
    pass that failed midway leaves nothing behind. Positions that slid out of a window are kept for rewinds. Buffers
    grow by a quarter, so that a step copies only its own position.
    """

    def __init__(self) -> None:
        self.length = 0
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def write(self, layer: int, keys_1HND: torch.Tensor, values_1HND: torch.Tensor) -> None:
        """Store a layer's keys and values at the positions from `length` on."""
        num_ids = keys_1HND.shape[2]
        end = self.length + num_ids
        buffers = self._layers.get(layer)
        if buffers is None or buffers[0].shape[2] < end:
            buffers = (self._grown(layer, 0, keys_1HND, end), self._grown(layer, 1, values_1HND, end))
            self._layers[layer] = buffers
        buffers[0].narrow(2, self.length, num_ids).copy_(keys_1HND)
        buffers[1].narrow(2, self.length, num_ids).copy_(values_1HND)

    def positions(self, layer: int, start: int, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A layer's keys and values at the positions from `start` to `end`, [1, H, end - start, D] each, not copied."""
        keys_1HND, values_1HND = self._layers[layer]
        return keys_1HND.narrow(2, start, end - start), values_1HND.narrow(2, start, end - start)

    def rewind(self, length: int) -> None:
        """Keep only the first `length` positions."""
        self.length = length

    def fork(self) -> KeyValueCache:
        """An independent cache with the same content."""
        forked = KeyValueCache()
        for layer in self._layers:
            forked.write(layer, *self.positions(layer, 0, self.length))
        forked.length = self.length
        return forked

    def _grown(self, layer: int, index: int, like_1HND: torch.Tensor, length: int) -> torch.Tensor:
        _, num_heads, _, width = like_1HND.shape
        grown = like_1HND.new_empty(1, num_heads, length + max(_SPARE_POSITIONS, length // 4), width)
        if layer in self._layers:
            grown[:, :, : self.length] = self._layers[layer][index][:, :, : self.length]
        return grown


@dataclass(slots=True)
class Chunk:
    """Ids to read after those in `cache`, of which the last `num_logits` are to give logits.

    Attributes:
        start, end: its rows in the pass.
        length: positions of the sequence after the pass.
    """

    cache: Any
    ids: Sequence[int]
    num_logits: int
    start: int = 0
    end: int = field(init=False)
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.end = self.start + len(self.ids)
        self.length = self.cache.length + len(self.ids)

    def rows_of(self, states_1xND: torch.Tensor) -> torch.Tensor:
        """The part of the pass's tensor at these positions."""
        if states_1xND.shape[2] == len(self.ids):  # the only chunk; making a view would cost as much as copying a step
            return states_1xND
        return states_1xND.narrow(2, self.start, len(self.ids))


class PackedCache(Cache):  # type: ignore[misc]
    """Stands in for the model's cache during one pass: passes each chunk's keys and values to its sequence's
    cache.
    """

    def __init__(self, chunks: list[Chunk]) -> None:
        super().__init__(layer_class_to_replicate=DynamicLayer)
        self.chunks = chunks

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        for chunk in self.chunks:
            chunk.cache.write(layer_idx, chunk.rows_of(key_states), chunk.rows_of(value_states))
        return key_states, value_states  # `_attention` reads the caches through the chunks


class _PackedMask:
    """Masks of one kind of layer for each chunk; made once per pass, chunk and device."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._local_size: int | None = options.get("local_size")  # a window; None = the layer sees everything
        self._made: dict[tuple[int, torch.device], torch.Tensor | None] = {}

    def first_seen(self, chunk: Chunk) -> int:
        """The first visible position."""
        return max(0, chunk.cache.length - self._local_size + 1) if self._local_size else 0

    def of(self, chunk: Chunk, device: torch.device) -> torch.Tensor | None:
        """True where visible, [1, 1, ids of the chunk, positions from `first_seen` on]; None = causal."""
        key = (chunk.start, device)
        if key not in self._made:
            first = self.first_seen(chunk)
            shape = {"batch_size": 1, "q_length": len(chunk.ids), "q_offset": chunk.cache.length}
            seen = {"kv_length": chunk.length - first, "kv_offset": first, "device": device}
            self._made[key] = sdpa_mask(**{**self._options, **shape, **seen})
        return self._made[key]

    @cached_property
    def unpacked(self) -> torch.Tensor | None:
        """The model's own mask, for a pass that is not packed."""
        made: torch.Tensor | None = sdpa_mask(**self._options)
        return made


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: _PackedMask,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one layer: query [1, A, N, D] -> [1, N, A, D]. The model's call may give an option `packed`."""
    packed: PackedCache | None = options.pop("packed", None)
    if packed is None:  # called by other code, such as the model's own `generate`
        unpacked, _ = sdpa_attention_forward(module, query, key, value, attention_mask.unpacked, **options)
        return unpacked, None
    outputs = []
    for chunk in packed.chunks:
        first = attention_mask.first_seen(chunk)
        keys_1HND, values_1HND = chunk.cache.positions(module.layer_idx, first, chunk.length)
        mask = attention_mask.of(chunk, query.device)
        outputs.append(sdpa_attention_forward(module, chunk.rows_of(query), keys_1HND, values_1HND, mask, **options)[0])
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1), None


def register() -> None:
    """Register the attention with transformers. Idempotent."""
    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, _PackedMask)
