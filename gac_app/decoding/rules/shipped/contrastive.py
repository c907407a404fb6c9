"""Contrastive decoding (arXiv 2210.15097): favours tokens that an expert finds likely and an amateur does not.

Shape suffixes: `M` members, `U` the union vocabulary, `K` the plausible tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from gac_app.decoding.rules.contracts import CombineRule, combine_rules

if TYPE_CHECKING:
    import torch

_LEAST = 1e-6  # below this, an amateur's probability is noise


@combine_rules.register(
    "contrastive", "Contrastive", "What the gate (the expert) finds likely and the others (the amateurs) do not."
)
class Contrastive(CombineRule):
    """With the expert p, the gate, and the amateurs' weighted mean a:

        q ~ p / a^b  over the plausible tokens, p >= alpha max p;  0 elsewhere.

    With b = 1 the order is that of the paper's score, log p - log a; the paper's alpha is 0.1. A token that no amateur
    has is neither favoured nor hindered: the amateurs count as if they agreed with the expert.
    """

    can_score: ClassVar[bool] = False  # most texts have no probability

    plausibility: float = Field(
        0.1,
        gt=0,
        le=1,
        title="Plausibility",
        description="Tokens with less than this share of the likeliest token's probability are left out.",
    )
    strength: float = Field(
        1.0,
        ge=0,
        le=20,
        title="Strength",
        description="How much the amateurs' probability counts against a token. 0 is off.",
    )

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        ids_K = (probs_MU[0] >= self.plausibility * probs_MU[0].max()).nonzero().flatten()
        expert_K, others_M = probs_MU[0, ids_K], weights_M[1:]
        amateurs_K = (probs_MU[1:, ids_K] * (others_M / others_M.sum().clamp_min(_LEAST))[:, None]).sum(0)
        liked_K = amateurs_K.clamp_min(_LEAST).where(amateurs_K > 0, expert_K)
        log_K = expert_K.log() - self.strength * liked_K.log()
        combined_U = probs_MU.new_zeros(probs_MU.shape[1])
        combined_U[ids_K] = (log_K - log_K.max()).exp()
        return combined_U
