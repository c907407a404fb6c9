"""CoRE (arXiv 2510.13855): what members disagree on counts less, and so does a member that is unsure or alone.

Shape suffixes: `M` members, `U` the union vocabulary.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from gac_app.decoding.rules.contracts import CombineRule, combine_rules

if TYPE_CHECKING:
    import torch

_IN_PLAY = 1e-3  # probability from which a token counts for a member's consistency
_LEAST_ENTROPY = 1e-3  # nats; a member that is quite sure does not count without bound


@combine_rules.register("core", "CoRE", "Damps tokens on which members disagree, and members that are unsure or alone.")
class Core(CombineRule):
    """With the plain average a and the disparity d_m = |p_m - a| of a token, its consistency is

        s_m = (exp(-b d_m) - exp(-b)) / (1 - exp(-b)),  with the steepness b,

    1 where members agree and 0 where one is certain of what others rule out. With the entropy H_m and the tokens V_m
    to which m or another gives 0.001 or more,

        q ~ sum_m w_m c_m s_m p_m,    c_m = (sum of s_m over V_m) / H_m.

    The paper takes each member's ten likeliest tokens for V_m, and leaves the main model's own tokens undamped.
    """

    steepness: float = Field(
        2.0,
        gt=0,
        le=50,
        title="Steepness",
        description="The larger, the less tokens count on which members differ.",
    )

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        least = math.exp(-self.steepness)
        mean_U = probs_MU.mean(0)
        consistency_MU = ((probs_MU - mean_U).abs_().mul_(-self.steepness).exp_() - least) / (1 - least)
        in_play_U = probs_MU.amax(0) >= _IN_PLAY
        entropy_M = -(probs_MU * probs_MU.clamp_min(1e-30).log_()).sum(1)
        trust_M = (consistency_MU * in_play_U).sum(1) / entropy_M.clamp_min(_LEAST_ENTROPY)
        return (consistency_MU * probs_MU * (weights_M * trust_M)[:, None]).sum(0)
