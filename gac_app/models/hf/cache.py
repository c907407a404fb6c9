"""Keys and values of one sequence inside a transformers model.

Shape suffixes: `H` key-value heads, `N` positions, `D` a head's width.
"""

from __future__ import annotations

import torch

_SPARE_POSITIONS = 64


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
