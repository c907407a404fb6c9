"""What the members of a step expect together, computed no sooner than it is looked at.

A greedy step needs no more than the likeliest token, and that is mostly told by the members' favourites. The whole
distribution is then made for the trace, while the members read on.

Shape suffixes: `U` the union vocabulary, `C` candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch

from gac_app.decoding.alignment import merge
from gac_app.decoding.combine import Combine, mean
from gac_app.decoding.expectation import Expectation
from gac_app.decoding.ranking import argmax

_CLEARLY = 1.0001  # times as likely: more than rounding could make of equals


class Mixture:
    """The combined distribution of a step; of one member, its own.

    Args:
        expected: of the members that take part, the gate first.
        weights: summing to 1.
        combine: makes one distribution of theirs.
        contested: each contested token's id and those of all that begin with it, whose probability goes to it.
    """

    def __init__(
        self,
        expected: Mapping[str, Expectation],
        weights: Mapping[str, float],
        combine: Combine = mean,
        contested: list[range] | None = None,
    ) -> None:
        self.expected = expected
        self.weights = weights
        self.contested = contested or []
        self._combine = combine

    @cached_property
    def probs_U(self) -> torch.Tensor:
        rows = {name: expectation.row.probs_U for name, expectation in self.expected.items()}
        return merge(self._combine(rows, self.weights), self.contested)

    @property
    def gate(self) -> Expectation:
        return next(iter(self.expected.values()))

    @property
    def favourite_id(self) -> int:
        """The likeliest token, the first one of equals."""
        told = self._told_by_favourites()
        return argmax(self.probs_U) if told is None else told

    def _told_by_favourites(self) -> int | None:
        """The likeliest token, where it clearly is one of the members' favourites; None = only all others tell."""
        rows = {name: expectation.row.probs_U for name, expectation in self.expected.items()}
        if self._combine is not mean or self.contested or any(row_U.device.type != "cpu" for row_U in rows.values()):
            return None
        ids = sorted({token_id for e in self.expected.values() for token_id in e.top_ids_K.tolist()})
        probs_C, most_beside = np.zeros(len(ids)), 0.0
        for name, weight in self.weights.items():
            probs_C += weight * rows[name].numpy()[ids].astype(np.float64)
            most_beside += weight * float(self.expected[name].top_probs_K[-1])
        best = int(probs_C.argmax())
        rivals = (most_beside, *np.delete(probs_C, best))
        return ids[best] if probs_C[best] > _CLEARLY * max(rivals) else None
