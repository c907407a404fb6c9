"""Passes of a graph over a few sequences. The memory of a kind of pass is bound once, and used at each such pass.

Shape suffixes: see `graph`; `P` chunks of a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gac_app.models.onnx.architecture import Layout

FloatArray = np.ndarray[Any, np.dtype[np.float32]]
Kind = tuple[int, int, int]  # of a chunk: slot, number of ids, number of logits wanted


class Chunk(NamedTuple):
    """Ids to read of one sequence, after `start` cached ones. The logits of the last `num_logits` are wanted."""

    slot: int
    start: int
    ids: Sequence[int]
    num_logits: int = 1

    @property
    def kind(self) -> Kind:
        return self.slot, len(self.ids), self.num_logits


class Pass:
    """A kind of pass, with its input and output memory.

    A chunk's last id fills its remaining places in attention. Slots between those of the chunks idle.

    Args:
        session: runs the graph.
        kinds: of the chunks.
        num_places: of each chunk in attention.
        near: the first cached position that window layers get.
        caches: keys and values, [layers, 2, slots, heads, L, D].
        tables: inputs that all passes share.
        logits_WV: memory for the logits.

    Attributes:
        embeddings_NE: the input; set before `run`.
        logits_WV: the result.
    """

    def __init__(
        self,
        session: Any,
        layout: Layout,
        kinds: Sequence[Kind],
        num_places: int,
        near: int,
        *,
        caches: FloatArray,
        tables: dict[str, FloatArray],
        logits_WV: FloatArray,
    ) -> None:
        slots_P, num_ids_P, num_logits_P = (np.array(each) for each in zip(*kinds, strict=True))
        low, num_slots = slots_P.min(), int(np.ptp(slots_P)) + 1
        ends_P = np.cumsum(num_ids_P)
        firsts_P = ends_P - num_ids_P
        owners_N = np.repeat(np.arange(len(kinds)), num_ids_P)
        self._slots_P, self._places_T, self._near = slots_P - low, np.arange(num_places), near
        rows_ST, counts_S = np.zeros((num_slots, num_places), np.int64), np.zeros(num_slots, np.int32)
        rows_ST[self._slots_P] = firsts_P[:, None] + np.minimum(self._places_T, num_ids_P[:, None] - 1)
        counts_S[self._slots_P] = num_places
        self.embeddings_NE: FloatArray = np.zeros((ends_P[-1], session.get_inputs()[0].shape[1]), np.float32)
        self.logits_WV, self._sums_W = logits_WV, np.empty(len(logits_WV), np.float32)
        self._inputs: dict[str, np.ndarray[Any, Any]] = {
            "embeddings": self.embeddings_NE,
            "wanted": np.concatenate(
                [np.arange(end - num, end) for end, num in zip(ends_P, num_logits_P, strict=True)]
            ),
            "rows": rows_ST,
            "counts": counts_S,
            "positions": np.zeros_like(rows_ST),
            "places": self._slots_P[owners_N] * num_places + np.arange(len(owners_N)) - firsts_P[owners_N],
            **tables,
        }
        self._has_windows = bool(layout.sliding_layers)
        for kind in ("", "near_") if self._has_windows else ("",):
            self._inputs |= {f"{kind}lengths": np.zeros(num_slots, np.int32), f"{kind}most": np.ones((), np.int32)}
        self._session, self._binding = session, session.io_binding()
        for name, values in self._inputs.items():
            self._binding.bind_input(name, *_place(values))
        self._binding.bind_output("logits", *_place(logits_WV))
        self._binding.bind_output("sums", *_place(self._sums_W))
        outputs = iter(session.get_outputs()[2:])
        for layer, of_layer in enumerate(caches):
            start = near if layer in layout.sliding_layers else 0
            for kind, cache in zip(("keys", "values"), of_layer, strict=True):
                place = _place(cache[low : low + num_slots, :, start:])
                self._binding.bind_input(f"{kind}_{layer}", *place)
                self._binding.bind_output(next(outputs).name, *place)  # written in place

    def run(self, starts: list[int]) -> None:
        """Compute the logits of the chunks, which begin at these positions. They are NaN if the computation failed."""
        inputs, positions_PT = self._inputs, np.array(starts)[:, None] + self._places_T
        inputs["positions"][self._slots_P] = positions_PT
        inputs["lengths"][self._slots_P] = positions_PT[:, -1]  # idle slots seem to hold one id
        inputs["most"][...] = inputs["lengths"].max() + 1
        for name in ("lengths", "most") if self._has_windows else ():
            inputs[f"near_{name}"][...] = inputs[name] - self._near
        self._session.run_with_iobinding(self._binding)
        self.logits_WV[~np.isfinite(self._sums_W)] = np.nan  # NaN rounded to 8 bits would become a number


def _place(values: np.ndarray[Any, Any]) -> tuple[str, int, Any, tuple[int, ...], int]:
    """An array's memory, in the form that a binding takes."""
    return "cpu", 0, values.dtype.type, values.shape, values.ctypes.data
