"""What a member says after one read: distributions in the union, put there no sooner than they are looked at.

Shape suffixes: `N` positions, `K` a member's favourites, `V` its own vocabulary, `U` the union.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as SequenceOf
from copy import copy
from typing import NamedTuple

import torch

from gac_app.decoding.gate import Favourite
from gac_app.decoding.ranking import top_k
from gac_app.decoding.row import OwnRow, Row
from gac_app.vocab.mapping import VocabMapping

TOP_K = 8  # favourites shown in traces
NUM_FAVOURITES = 2 * TOP_K  # kept per distribution: so many mostly tell what the members favour together


class _Known(NamedTuple):
    rows: SequenceOf[Row]
    top_probs_NK: torch.Tensor
    top_ids_NK: torch.Tensor


class Reading:
    """A member's next-token distributions after one read, in the union.

    A late one is put there only when it is looked at, by whoever looks: a session of one member lets the member read on
    by its favourite before that.

    Attributes:
        num_read: ids read for it.
        seconds: of the forward pass, shared with what was batched into it.
    """

    __slots__ = ("_favourite", "_known", "_late_V", "_mapping", "num_read", "seconds")

    def __init__(self, mapping: VocabMapping, logits_NV: torch.Tensor, num_read: int, *, is_late: bool = False) -> None:
        """`logits_NV` are in the member's own ids. On a GPU, of several positions, and where the favourite cannot be
        told without, a reading is not late though it may be."""
        self.num_read = num_read
        self.seconds = 0.0
        self._mapping = mapping
        can_be_late = is_late and len(logits_NV) == 1 and logits_NV.device.type == "cpu"
        self._favourite = mapping.likeliest(logits_NV[0]) if can_be_late else None
        self._late_V = None if self._favourite is None else logits_NV[0].clone()
        self._known = _in_union(mapping, logits_NV) if self._favourite is None else None

    @property
    def rows(self) -> SequenceOf[Row]:
        """The distributions, by position."""
        return self._look().rows

    @property
    def probs_NU(self) -> torch.Tensor:
        """All of them as one tensor, which is made for whoever looks."""
        return torch.stack([row.probs_U for row in self.rows])

    @property
    def top_probs_NK(self) -> torch.Tensor:
        return self._look().top_probs_NK

    @property
    def top_ids_NK(self) -> torch.Tensor:
        return self._look().top_ids_NK

    @property
    def last_favourite(self) -> int:
        """The likeliest token at the last position."""
        return int(self.top_ids_NK[-1, 0]) if self._favourite is None else self._favourite

    @property
    def is_finite(self) -> bool:
        """Whether its logits are numbers. The first look at one, so a GPU's late errors come up here."""
        return self._favourite is not None or all(map(math.isfinite, self.top_probs_NK[:, 0].tolist()))

    def favourite(self, position: int, temperature: float) -> Favourite:
        """The likeliest token at one of the positions, as a gate of this temperature sees it."""
        found = Favourite(int(self.top_ids_NK[position, 0]), float(self.top_probs_NK[position, 0]))
        return found.scaled(self.rows[position], temperature)

    def again(self, num_positions: int) -> Reading:
        """The last `num_positions` for somebody else, who does not pay for them."""
        reading = copy(self)
        reading.num_read, reading.seconds = 0, 0.0
        rows, top_probs_NK, top_ids_NK = self._look()
        start = len(rows) - num_positions
        reading._known = _Known(rows[start:], top_probs_NK[start:], top_ids_NK[start:])
        return reading

    def _look(self) -> _Known:
        if self._known is None:
            assert self._late_V is not None  # noqa: S101 (it is late)
            self._known = _in_union(self._mapping, self._late_V.unsqueeze(0))
        return self._known


def _in_union(mapping: VocabMapping, logits_NV: torch.Tensor) -> _Known:
    with torch.inference_mode():
        if len(logits_NV) == 1 and logits_NV.device.type == "cpu":
            probs_V = mapping.own_probs(logits_NV[0])
            row = OwnRow(mapping, probs_V)
            top_probs_NK, top_ids_NK = top_k(probs_V.unsqueeze(0), NUM_FAVOURITES)
            places_NK = mapping.places(top_ids_NK)
            if places_NK is None:  # of so small a vocabulary that improbable tokens are favourites, too
                top_probs_NK, places_NK = top_k(row.probs_U.unsqueeze(0), NUM_FAVOURITES)
            return _Known([row], top_probs_NK, places_NK)
        probs_NU = mapping.project(logits_NV)
        return _Known([Row(probs_U) for probs_U in probs_NU], *top_k(probs_NU, NUM_FAVOURITES))
