"""What is left of a token that has begun, beside a scaled distribution of which only the likeliest are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from gac_app.decoding.distribution.token_distribution import BoundsU, TokenDistribution


class ScaledDistribution(TokenDistribution):
    """A distribution times a number, plus known probabilities. Its base is asked for more.

    Args:
        base: on the CPU.
        scale: 0 to 1.
        added: by union id.
        parts: the base, and what `added` was computed from.
    """

    def __init__(
        self,
        base: TokenDistribution,
        scale: float,
        added: dict[int, float],
        partial_ids: dict[int, float],
        parts: Sequence[TokenDistribution] = (),
    ) -> None:
        super().__init__(None, partial_ids, parts=[base, *parts])
        self._base, self._scale, self._added = base, scale, added
        self.is_whole = base.is_whole

    @property
    def unseen_mass(self) -> float:
        return self._base.unseen_mass * self._scale

    @property
    def bounds_U(self) -> BoundsU:
        if self.is_whole:
            return super().bounds_U
        low_U, high_U = (with_added(bound_U * self._scale, self._added) for bound_U in self._base.bounds_U)
        return low_U, high_U

    @property
    def probs_U(self) -> torch.Tensor:
        if self._probs_U is None:
            self._probs_U, self.is_whole = with_added(self._base.probs_U * self._scale, self._added), True
        return self._probs_U

    def fetch_logprobs(self, ids: Iterable[int]) -> bool:
        is_more_known, self.is_whole = self._base.fetch_logprobs(ids), self._base.is_whole
        return is_more_known

    def fetch_more(self) -> bool:
        is_more_known, self.is_whole = self._base.fetch_more(), self._base.is_whole
        return is_more_known


def with_added(probs_U: torch.Tensor, added: dict[int, float]) -> torch.Tensor:
    """Add probabilities by union id, in place; returns `probs_U`."""
    ids = torch.tensor(list(added), dtype=torch.int64, device=probs_U.device)
    probs_U[ids] += torch.tensor(list(added.values()), device=probs_U.device)
    return probs_U
