"""Distributions on the CPU that are kept in the order of the member's own ids.

Shape suffixes: `U` the union vocabulary, `V` a member's own.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from functools import cached_property

import numpy as np
import torch

from gac_app.decoding.distribution.ranking import largest
from gac_app.decoding.distribution.token_distribution import NUM_TOP, TokenDistribution, Top
from gac_app.vocab.mapping import FloatV, ProbsC, VocabMapping


class OwnDistribution(TokenDistribution):
    """A distribution on the CPU that is put in the union's order on first access to `probs_U`.

    Args:
        probs_V: as `mapping.own_probs` gives them.
    """

    def __init__(self, mapping: VocabMapping, probs_V: FloatV | None) -> None:
        self.partial_ids = {}
        self._mapping = mapping
        self._own_V = probs_V
        self._probs_U = self._log_probs_U = None
        self._find_top = None
        self._cuts = {}

    @property
    def _probs_V(self) -> FloatV:
        assert self._own_V is not None  # noqa: S101 (it was given)
        return self._own_V

    @property
    def probs_U(self) -> torch.Tensor:
        if self._probs_U is None:
            self._probs_U = self._mapping.spread(self._probs_V)
        return self._probs_U

    @cached_property
    def top(self) -> Top:
        ids = largest(self._probs_V, NUM_TOP)
        places = self._mapping.places(ids)
        # In a very small vocabulary, improbable tokens are in the top too, and some have no place in the union.
        return super().top if places is None else list(zip(places.tolist(), self._probs_V[ids].tolist(), strict=True))

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def at(self, ids: list[int]) -> ProbsC:
        return super().at(ids) if self._probs_U is not None else self._mapping.at(ids, self._probs_V)

    def _counted_rank(self, token_id: int) -> int:
        return int(np.count_nonzero(self._probs_V > self.at([token_id]))) + 1

    def _values(self, ranges: SequenceOf[range]) -> ProbsC:
        if self._probs_U is not None or sum(map(len, ranges)) > len(self._mapping.union):
            return super()._values(ranges)
        return self._mapping.within(ranges, self._probs_V)


class LazyDistribution(OwnDistribution):
    """A distribution whose argmax is known from finite logits. Everything else is projected lazily, on first access.

    Args:
        logits_V: kept, and changed in place.
    """

    def __init__(self, mapping: VocabMapping, logits_V: FloatV, argmax_id: int) -> None:
        super().__init__(mapping, None)
        self._logits_V = logits_V
        self._argmax_id = argmax_id

    @property
    def argmax_id(self) -> int:
        return self._argmax_id

    @property
    def is_finite(self) -> bool:
        return True

    @property
    def _probs_V(self) -> FloatV:
        if self._own_V is None:
            with torch.inference_mode():
                self._own_V = self._mapping.own_probs(self._logits_V)
        return self._own_V
