"""Means of the members' probabilities: f-ensembles (arXiv 2603.05432), here normalised at every step.

Shape suffixes: `M` members, `U` the union vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from gac_app.decoding.rules.contracts import CombineRule, LinearRule, combine_rules

if TYPE_CHECKING:
    import torch

_LEAST = 1e-30  # in place of 0, which has no logarithm


@combine_rules.register("mean", "Mean", "The weighted mean of the members' probabilities, as in the paper.")
class Mean(LinearRule):
    """GaC (arXiv 2406.12585, section 3.1): q = sum_m w_m p_m."""


@combine_rules.register(
    "random-member",
    "Random member",
    "The mean. At temperature 1 without filters, with alignment paper, one member drawn by weight is asked per token.",
)
class RandomMember(Mean):
    """Mixture-model-like ensembling (arXiv 2605.00419): m ~ w, then a token ~ p_m, hence a token ~ sum_m w_m p_m.

    One forward pass per token instead of one per member. Where this would change the distribution, the rule is the
    mean.
    """

    draws_one: ClassVar[bool] = True


@combine_rules.register("geometric", "Geometric mean", "A product of experts: one member can rule a token out.")
class Geometric(CombineRule):
    """q ~ prod_m p_m ^ w_m (Hinton 2002; f-ensembles, arXiv 2603.05432). A token that one member rules out is ruled
    out.
    """

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        product_U = probs_MU.new_ones(())
        for probs_U, weight in zip(probs_MU, weights_M.tolist(), strict=True):
            product_U = probs_U.clamp_min(_LEAST).pow_(weight).mul_(product_U)
        return product_U


@combine_rules.register(
    "power", "Power mean", "Between the minimum, the mean and the maximum of the members' probabilities."
)
class Power(CombineRule):
    """q ~ (sum_m w_m p_m ^ a) ^ (1/a) (arXiv 2603.05432). a = 1 is the mean, a -> 0 the geometric one."""

    exponent: float = Field(
        2.0,
        ge=-20,
        le=20,
        title="Exponent",
        description="1 is the mean, 0 the geometric mean. Larger values favour the more confident member.",
    )

    def __call__(self, probs_MU: torch.Tensor, weights_M: torch.Tensor) -> torch.Tensor:
        if abs(self.exponent) < 1e-3:
            return Geometric()(probs_MU, weights_M)
        counted_M = weights_M > 0  # a probability without weight must not be the largest, or the smallest
        probs_MU, weights_M = probs_MU[counted_M], weights_M[counted_M]
        # Relative to the largest, or the smallest: powers of small float32 numbers would be 0 or infinite.
        base_U = (probs_MU.amax(0) if self.exponent > 0 else probs_MU.amin(0)).clamp_min_(_LEAST)
        powers_U = probs_MU.new_zeros(probs_MU.shape[1])
        for probs_U, weight in zip(probs_MU, weights_M.tolist(), strict=True):
            powers_U.add_(probs_U.clamp_min(_LEAST).div_(base_U).pow_(self.exponent), alpha=weight)
        return powers_U.pow_(1 / self.exponent).mul_(base_U)


def weighted_sum(probs: Iterable[torch.Tensor], weights: Iterable[float]) -> torch.Tensor:
    """sum_m w_m p_m, [U], on the device of the first, without a copy of all members' probabilities."""
    (first_U, first), *others = zip(probs, weights, strict=True)
    sum_U = first_U * first
    for probs_U, weight in others:
        sum_U.add_(probs_U.to(sum_U.device, non_blocking=True), alpha=weight)
    return sum_U
