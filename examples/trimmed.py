"""A combine rule with a parameter: the mean, without tokens that most members consider improbable."""

import torch
from pydantic import Field

from gac_app.decoding.rules import CombineRule, combine_rules


@combine_rules.register(
    "trimmed", "Trimmed mean", "The mean of tokens to which at least half of the members give something."
)
class Trimmed(CombineRule):
    """q ~ sum_m w_m p_m over the tokens whose median probability is at least `least`; the mean where there is none."""

    least: float = Field(
        0.001, ge=0, le=1, title="Least", description="Probability that half of the members must give."
    )

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        mean_U = (weights_M[:, None] * probs_MU).sum(0)
        kept_U = mean_U * (probs_MU.quantile(0.5, dim=0) >= self.least)
        return kept_U if kept_U.sum() > 0 else mean_U
