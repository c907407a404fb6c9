"""CoRE (arXiv 2510.13855): tokens on which members disagree count less, and so do members that are unsure or alone.

Shape suffixes: `M` members, `U` the union vocabulary, `K` the tokens in play.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from gac_app.decoding.rules.contracts import CombineRule, combine_rules
from gac_app.decoding.rules.shipped.averaging import weighted_sum

if TYPE_CHECKING:
    import torch

_IN_PLAY = 1e-3  # least probability of a token in play
_LEAST_ENTROPY = 1e-3  # nats; bounds the weight of a very sure member


@combine_rules.register(
    "core", "CoRE", "Lowers tokens on which members disagree, and members that are unsure or alone in their view."
)
class Core(CombineRule):
    """For the tokens V to which some member gives 0.001 or more, with the plain average a and a member's disparity
    d_m = |p_m - a|, the consistency is, with the steepness b,

        s_m = (exp(-b d_m) - exp(-b)) / (1 - exp(-b)),

    1 where members agree, 0 where one is certain of a token that others rule out, and 1 for all tokens outside V. With
    H_m the entropy over V,

        q ~ sum_m w_m c_m s_m p_m,    c_m = (sum of s_m over V) / H_m.

    The paper takes each member's ten likeliest tokens for V, and leaves the main model's own tokens undamped.
    """

    steepness: float = Field(
        2.0,
        gt=0,
        le=50,
        title="Steepness",
        description="The larger, the less a token counts on which members disagree.",
    )

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        ids_K = (probs_MU.amax(0) >= _IN_PLAY).nonzero().flatten()
        probs_MK, least = probs_MU[:, ids_K], math.exp(-self.steepness)
        disparity_MK = (probs_MK - probs_MK.mean(0)).abs()
        consistency_MK = ((-self.steepness * disparity_MK).exp() - least) / (1 - least)
        shares_MK = probs_MK / probs_MK.sum(1, keepdim=True).clamp_min(1e-30)
        entropy_M = -(shares_MK * shares_MK.clamp_min(1e-30).log()).sum(1)
        trusted = (weights_M * consistency_MK.sum(1) / entropy_M.clamp_min(_LEAST_ENTROPY)).tolist()
        combined_U = weighted_sum(probs_MU, trusted)
        combined_U[ids_K] = weighted_sum(probs_MK * consistency_MK, trusted)
        return combined_U
