"""What a member says after one read: distributions in the union, put there no sooner than they are looked at.

Shape suffixes: `N` positions, `V` the member's own vocabulary, `U` the union.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as SequenceOf
from copy import copy

import torch

from gac_app.decoding.row import OwnRow, Row, rows_of
from gac_app.vocab.mapping import FloatV, VocabMapping


class Reading:
    """A member's next-token distributions after one read, in the union.

    A late one is put there only when it is looked at, by whoever looks: a session of one member lets the member read on
    by its favourite before that.

    Attributes:
        num_read: ids read for it.
        seconds: of the forward pass, shared with what was batched into it.
    """

    __slots__ = ("_favourite", "_late_V", "_mapping", "_rows", "num_read", "seconds")

    def __init__(self, mapping: VocabMapping, logits_NV: torch.Tensor, num_read: int, *, is_late: bool = False) -> None:
        """`logits_NV` are in the member's own ids. On a GPU, of several positions, and where the favourite cannot be
        told without, a reading is not late though it may be."""
        self.num_read = num_read
        self.seconds = 0.0
        self._mapping = mapping
        can_be_late = is_late and len(logits_NV) == 1 and logits_NV.device.type == "cpu"
        self._favourite = mapping.likeliest(logits_NV.numpy()[0]) if can_be_late else None
        self._late_V = None if self._favourite is None else logits_NV.numpy()[0].copy()
        self._rows = _in_union(mapping, logits_NV) if self._favourite is None else None

    @property
    def rows(self) -> SequenceOf[Row]:
        """The distributions, by position."""
        if self._rows is None:
            assert self._late_V is not None  # noqa: S101 (it is late)
            self._rows = [_own_row(self._mapping, self._late_V)]
        return self._rows

    @property
    def probs_NU(self) -> torch.Tensor:
        """All of them as one tensor, which is made for whoever looks."""
        return torch.stack([row.probs_U for row in self.rows])

    @property
    def last_favourite(self) -> int:
        """The likeliest token at the last position."""
        return self.rows[-1].top[0][0] if self._favourite is None else self._favourite

    @property
    def is_finite(self) -> bool:
        """Whether its logits are numbers. The first look at one, so a GPU's late errors come up here."""
        return self._favourite is not None or all(math.isfinite(row.top[0][1]) for row in self.rows)

    def again(self, num_positions: int) -> Reading:
        """The last `num_positions` for somebody else, who does not pay for them."""
        reading = copy(self)
        reading.num_read, reading.seconds = 0, 0.0
        reading._rows = self.rows[len(self.rows) - num_positions :]
        return reading


def _in_union(mapping: VocabMapping, logits_NV: torch.Tensor) -> SequenceOf[Row]:
    if len(logits_NV) == 1 and logits_NV.device.type == "cpu":
        return [_own_row(mapping, logits_NV.numpy()[0])]
    with torch.inference_mode():
        return rows_of(mapping.project(logits_NV))


def _own_row(mapping: VocabMapping, logits_V: FloatV) -> Row:
    with torch.inference_mode():
        return OwnRow(mapping, mapping.own_probs(logits_V))
