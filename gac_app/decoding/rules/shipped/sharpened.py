"""SAFE's sharpening (arXiv 2510.15346): sharpens a mean that has become too smooth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from gac_app.decoding.rules.contracts import CombineRule, combine_rules
from gac_app.decoding.rules.shipped.averaging import weighted_sum

if TYPE_CHECKING:
    import torch


@combine_rules.register("sharpened", "Sharpened mean", "The mean, sharpened where no token stands out.")
class Sharpened(CombineRule):
    """With the mean a: q = a where its largest probability is at least `below`, else q ~ a ^ (1 / temperature).

    SAFE also merges probability that members spread over pieces of one word; here alignment `prefix` does so.
    """

    below: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Sharpen below",
        description="Sharpens where the largest probability of the mean is below this.",
    )
    temperature: float = Field(0.5, ge=0.01, le=1, title="Temperature", description="The lower, the sharper.")

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        mean_U = weighted_sum(probs_MU, weights_M.tolist())
        most = mean_U.max()
        return mean_U if most >= self.below else mean_U.div_(most).pow_(1 / self.temperature)
