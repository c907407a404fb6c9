"""Contrastive decoding (arXiv 2210.15097): what an expert says and an amateur does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from gac_app.decoding.rules.contracts import CombineRule, combine_rules

if TYPE_CHECKING:
    import torch

_LEAST = 1e-6  # of an amateur's probability: below, it is noise


@combine_rules.register(
    "contrastive", "Contrastive", "What the gate, the expert, finds likely and the others, the amateurs, do not."
)
class Contrastive(CombineRule):
    """With the expert p, the gate, and the amateurs' weighted mean a:

        q ~ p / a^b  over the plausible tokens, p >= alpha max p;  0 elsewhere.

    With b = 1 the order is that of the paper's score, log p - log a; its alpha is 0.1. A token that no amateur has is
    neither favoured nor hindered: it counts as if they liked it as much as the expert does.
    """

    can_score: ClassVar[bool] = False  # most texts have no probability

    plausibility: float = Field(
        0.1,
        gt=0,
        le=1,
        title="Plausibility",
        description="Share of the likeliest token's probability that it takes.",
    )
    strength: float = Field(
        1.0, ge=0, le=20, title="Strength", description="How much the amateurs' liking speaks against a token; 0 = not."
    )

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        expert_U, others_M = probs_MU[0], weights_M[1:]
        plausible_U = expert_U >= self.plausibility * expert_U.max()
        amateurs_U = (probs_MU[1:] * (others_M / others_M.sum().clamp_min(_LEAST))[:, None]).sum(0)
        liked_U = amateurs_U.clamp_min(_LEAST).where(amateurs_U > 0, expert_U)
        log_U = expert_U.clamp_min(1e-30).log() - self.strength * liked_U.clamp_min(_LEAST).log_()
        return (log_U - log_U[plausible_U].max()).exp_().where(plausible_U, log_U.new_zeros(()))
