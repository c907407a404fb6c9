"""What is left of a token that has begun, beside a share of a distribution on the CPU; computed as it is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from functools import cached_property

import numpy as np
import torch

from gac_app.decoding.distribution.token_distribution import NUM_TOP, CutBounds, TokenDistribution, Top
from gac_app.decoding.distribution.told_distribution import ToldDistribution, likely_of
from gac_app.vocab.mapping import FloatV, IdArray, ProbsC


class MixedDistribution(TokenDistribution):
    """A share of a distribution, plus probabilities that are known.

    Args:
        base: on the CPU.
        added: by union id.
    """

    def __init__(
        self, base: TokenDistribution, share: float, added: dict[int, float], partial_ids: dict[int, float]
    ) -> None:
        self.partial_ids = partial_ids
        self._base, self._share, self._added = base, share, added
        self._probs_U = self._log_probs_U = self._find_top = None
        self._cuts = {}

    def _mixed(self, probs_U: torch.Tensor) -> torch.Tensor:
        mixed_U, (ids, probs) = probs_U * self._share, self._sorted
        mixed_U.numpy()[ids] += probs
        return mixed_U

    @cached_property
    def _sorted(self) -> tuple[IdArray, ProbsC]:
        """What is added, by ascending ids."""
        ids = sorted(self._added)
        return np.array(ids, np.int64), np.array([self._added[token_id] for token_id in ids], np.float32)

    @property
    def probs_U(self) -> torch.Tensor:
        if self._probs_U is None:
            self._probs_U = self._mixed(self._base.probs_U)
            self.made_of([self._base])
        return self._probs_U

    @cached_property
    def top(self) -> Top:
        ids = sorted({token_id for token_id, _ in self._base.top}.union(self._added))
        probs = self.at(ids)
        best = np.argsort(-probs, kind="stable")[:NUM_TOP].tolist()
        return [(ids[index], float(probs[index])) for index in best]

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def at(self, ids: list[int]) -> ProbsC:
        added = np.array([self._added.get(token_id, 0.0) for token_id in ids], np.float32)
        mixed: ProbsC = self._base.at(ids) * np.float32(self._share) + added
        self.made_of([self._base])
        return mixed

    def _values(self, ranges: SequenceOf[range]) -> ProbsC:
        mixed: ProbsC = self._base._values(ranges) * np.float32(self._share)
        self.made_of([self._base])
        ids, probs = self._sorted
        start = 0
        for tokens in ranges:
            first, stop = ids.searchsorted((tokens.start, tokens.stop)).tolist()
            mixed[ids[first:stop] + (start - tokens.start)] += probs[first:stop]
            start += len(tokens)
        return mixed

    # --- what is known without asking

    @property
    def is_whole(self) -> bool:
        return self._base.is_whole

    @property
    def is_finite(self) -> bool:
        return True

    @property
    def doubt(self) -> float:
        return self._base.doubt * self._share

    @property
    def bounds_U(self) -> tuple[torch.Tensor, torch.Tensor]:
        low_U, high_U = self._base.bounds_U
        return self._mixed(low_U), self._mixed(high_U)

    @property
    def estimate(self) -> TokenDistribution:
        if self.is_whole:
            return self
        mixed = MixedDistribution(self._base.estimate, self._share, self._added, self.partial_ids)
        return mixed.made_of([self._base])

    def widen(self) -> bool:
        is_wider = self._base.widen()
        self.made_of([self._base])
        return is_wider

    def know(self, ids: Iterable[int]) -> bool:
        is_wider = self._base.know(ids)
        self.made_of([self._base])
        return is_wider

    def bounded_cuts(self, ranges: SequenceOf[range]) -> list[CutBounds]:
        if self.is_whole:
            return super().bounded_cuts(ranges)
        return [
            (
                (low * self._share + first, high * self._share + first),
                (least * self._share + others, most * self._share + others),
            )
            for ((low, high), (least, most)), (first, others) in zip(
                self._base.bounded_cuts(ranges), map(self._added_to, ranges), strict=True
            )
        ]

    def _added_to(self, ids: range) -> tuple[float, float]:
        """What is added to where tokens end with the first, and to all others."""
        total, first = sum(prob for own, prob in self._added.items() if own in ids), self._added.get(ids.start, 0.0)
        beyond = self.partial_ids.get(ids.start, 0.0)
        return first - beyond, total - first + beyond

    def likely(self, num: int, least: float) -> tuple[set[int], set[int]] | None:
        if not isinstance(self._base, ToldDistribution) or self.is_whole:
            return super().likely(num, least)
        ids_K, _, _, beside = self._base.ranking
        both = np.union1d(ids_K, list(self._added)).astype(np.int32)
        low_U, high_U = self.bounds_U
        least_K: FloatV = low_U.numpy()[both]
        most_K: FloatV = high_U.numpy()[both]
        return likely_of((both, least_K, most_K, beside * self._share), num, least)

    def extremes(self) -> tuple[TokenDistribution, TokenDistribution] | None:
        return (self, self) if self.is_whole else None
