"""The most confident member decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gac_app.decoding.rules.contracts import CombineRule, combine_rules

if TYPE_CHECKING:
    import torch


@combine_rules.register(
    "most-confident", "Most confident", "At each step, the distribution of the most confident member alone."
)
class MostConfident(CombineRule):
    """q = p_m of the m with the largest w_m max p_m, the first of equals. A baseline for the means."""

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        return probs_MU[int((weights_M * probs_MU.amax(1)).argmax())]
