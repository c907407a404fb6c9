"""Tokens that are made more or less likely.

Shape suffixes: `U` the union vocabulary, `B` the tokens with a bias.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from gac_app.errors import ConstraintError
from gac_app.settings import MAX_BIAS


class TokenBias:
    """Adds a number to the log-probability of each of some tokens. `-MAX_BIAS` rules a token out. Where tokens with
    `MAX_BIAS` can be written, only these are.

    Args:
        bias: by union id, from -MAX_BIAS to MAX_BIAS.

    Attributes:
        ids: of the tokens that it makes more or less likely.
    """

    def __init__(self, bias: Mapping[int, float]) -> None:
        self._ids_B = torch.tensor(list(bias), dtype=torch.int64)
        bias_B = torch.tensor(list(bias.values()), dtype=torch.float64)
        self._factors_B = bias_B.exp().masked_fill(bias_B <= -MAX_BIAS, 0.0)  # float64: e^100 is no float32
        self.ids = [token_id for token_id, value in bias.items() if value]
        self._wanted = [token_id for token_id, value in bias.items() if value >= MAX_BIAS]

    def __call__(self, probs_U: torch.Tensor) -> torch.Tensor:
        """The distribution with the bias, summing to 1; `probs_U` stays as it is. Raises ConstraintError if no token is
        left.
        """
        weights_U = probs_U.double()
        if self._wanted and float(weights_U[self._wanted].sum()) > 0:
            wanted_U = torch.zeros_like(weights_U)
            wanted_U[self._wanted] = weights_U[self._wanted]
            weights_U = wanted_U
        else:
            weights_U[self._ids_B] *= self._factors_B.to(weights_U.device)
        total = float(weights_U.sum())
        if total <= 0:
            raise ConstraintError("logit_bias: rules out every token that could be written here")
        return (weights_U / total).float()
