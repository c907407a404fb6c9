"""The ensemble distribution (paper, section 3.1): q = sum_i w_i p^i M^i, a weighted mean in the union."""

from __future__ import annotations

import torch


def combine(probs_MU: list[torch.Tensor], weights_M: list[float]) -> torch.Tensor:
    """The weighted mean of distributions of shape [U], on the first one's device.

    Args:
        probs_MU: one distribution over the union per member.
        weights_M: as many weights, summing to 1.
    """
    if len(probs_MU) == 1:
        return probs_MU[0]
    mixed_U = probs_MU[0] * weights_M[0]
    for probs_U, weight in zip(probs_MU[1:], weights_M[1:], strict=True):
        mixed_U.add_(probs_U.to(mixed_U.device, non_blocking=True), alpha=weight)
    return mixed_U
