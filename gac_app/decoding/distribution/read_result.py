"""The result of one read of a member: distributions in the union.

Shape suffixes: `N` positions, `V` the member's own vocabulary, `U` the union.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.vocab.mapping import VocabMapping


@dataclass(slots=True)
class ReadResult:
    """A member's next-token distributions after one read, in the union.

    Attributes:
        distributions: by position.
        num_read: ids computed for it.
        seconds: of the forward pass, which other sequences may have shared.
    """

    distributions: Sequence[TokenDistribution]
    num_read: int
    seconds: float = 0.0

    @property
    def is_finite(self) -> bool:
        """Whether its logits are finite. This is the first access to them, so late GPU errors surface here."""
        return all(math.isfinite(distribution.top[0][1]) for distribution in self.distributions)


class MemberStep(NamedTuple):
    """What a member contributes to a step.

    Attributes:
        distribution: of its next token, over the union.
        num_read: ids read for it; 0 where the member needed no forward pass.
        seconds: of the forward pass, which other sequences may have shared.
    """

    distribution: TokenDistribution
    num_read: int
    seconds: float


def distributions_of(
    mapping: VocabMapping, logits_NV: torch.Tensor, *, with_logs: bool = False
) -> list[TokenDistribution]:
    """The distributions of logits in the member's own ids.

    Args:
        with_logs: `log_probs_U` are exact, however small the probabilities.
    """
    if not with_logs:
        return [TokenDistribution(probs_U) for probs_U in mapping.project(logits_NV)]
    return [TokenDistribution(logs_U.exp(), log_probs_U=logs_U) for logs_U in mapping.project_logs(logits_NV)]
