"""What is left of a token that has begun, beside a share of a distribution of which only the likeliest are told."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf

import numpy as np
import torch

from gac_app.decoding.distribution.token_distribution import CutBounds, TokenDistribution
from gac_app.vocab.mapping import ProbsC


class MixedDistribution(TokenDistribution):
    """A share of a distribution, plus known probabilities. Lazy: queries the base only for the tokens requested.

    Args:
        base: on the CPU.
        added: by union id.
    """

    def __init__(
        self, base: TokenDistribution, share: float, added: dict[int, float], partial_ids: dict[int, float]
    ) -> None:
        super().__init__(None, partial_ids)
        self._base, self._share, self._added = base, share, added

    @property
    def probs_U(self) -> torch.Tensor:
        if self._probs_U is None:
            self._probs_U = with_added(self._base.probs_U * self._share, self._added)
            self.made_of([self._base])
        return self._probs_U

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def at(self, ids: list[int]) -> ProbsC:
        added = np.array([self._added.get(token_id, 0.0) for token_id in ids], np.float32)
        mixed: ProbsC = self._base.at(ids) * np.float32(self._share) + added
        self.made_of([self._base])
        return mixed

    def _values(self, ranges: SequenceOf[range]) -> ProbsC:
        return self.at([token_id for ids in ranges for token_id in ids])

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
        low_U, high_U = (with_added(bound_U * self._share, self._added) for bound_U in self._base.bounds_U)
        return low_U, high_U

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

    def extremes(self) -> tuple[TokenDistribution, TokenDistribution] | None:
        return (self, self) if self.is_whole else None


def with_added(probs_U: torch.Tensor, added: dict[int, float]) -> torch.Tensor:
    """Add probabilities by union id, in place; returns `probs_U`."""
    ids = torch.tensor(list(added), dtype=torch.int64, device=probs_U.device)
    probs_U[ids] += torch.tensor(list(added.values()), device=probs_U.device)
    return probs_U
