"""Ratings corrected for style: a logistic regression on the contestants and on the difference in style.

LMArena's style control: each feature's difference divided by its sum, standardised, is a covariate of the Bradley-Terry
model. Each resample of visitor sessions moves the estimate by one Newton step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gac_app.arena.rating.ratings import BASE_RATING, PRIOR, SCALE, is_decided
from gac_app.arena.rating.resampling import resampled_sums

if TYPE_CHECKING:
    from gac_app.arena.rating.votes import Floats, Votes

_RIDGE = 1e-3  # fixes the sum of the strengths, which is otherwise free
_MAX_STEPS = 50
_TO_ELO = SCALE / np.log(10)


class StyleControl:
    """The fitted regression.

    Attributes:
        ratings_C: Elo, their mean `BASE_RATING`.
        effects_F: of each feature, in Elo per standard deviation.
    """

    def __init__(self, votes: Votes) -> None:
        num = len(votes.names)
        self._num = num
        self._session_N = votes.session_N
        design_NP = np.hstack([_who(votes), _style(votes)])
        one_M, other_M = np.triu_indices(0 if is_decided(votes.wins_CC()[None])[0] else num, 1)  # the prior of `rate`
        each_CP = np.eye(num, design_NP.shape[1])
        self._design_NP = np.vstack([design_NP, each_CP[one_M] - each_CP[other_M]])
        self._score_N = np.append(votes.score_N, np.full(len(one_M), 0.5))
        self._weight_N = np.append(votes.weight_N, np.full(len(one_M), 2 * PRIOR))
        self._weights_P = np.zeros(self._design_NP.shape[1])
        for _ in range(_MAX_STEPS):
            gradients_NP, hessian_PP = self._slopes()
            step_P = np.linalg.solve(hessian_PP, gradients_NP.sum(axis=0) - _RIDGE * self._weights_P)
            self._weights_P = self._weights_P + step_P
            if np.abs(step_P).max(initial=0.0) < 1e-8:
                break

    @property
    def ratings_C(self) -> Floats:
        elo_C: Floats = self._elo(self._weights_P[None])[0]
        return elo_C

    @property
    def effects_F(self) -> Floats:
        effects_F: Floats = self._weights_P[self._num :] * _TO_ELO
        return effects_F

    def resampled(self) -> tuple[Floats, Floats]:
        """Ratings `[B, C]` and effects `[B, F]` of resamples of sessions, each one Newton step from the estimate."""
        gradients_NP, hessian_PP = self._slopes()
        num = len(self._session_N)  # what follows is the prior's
        sums_BP = resampled_sums(self._session_N, gradients_NP[:num]) + gradients_NP[num:].sum(axis=0)
        sums_BP -= _RIDGE * self._weights_P
        weights_BP = self._weights_P + np.linalg.solve(hessian_PP, sums_BP.T).T
        return self._elo(weights_BP), weights_BP[:, self._num :] * _TO_ELO

    def _slopes(self) -> tuple[Floats, Floats]:
        """Each vote's gradient, and the prior's, of the log likelihood, and the total curvature."""
        prob_N = 1 / (1 + np.exp(-self._design_NP @ self._weights_P))
        gradients_NP = self._design_NP * (self._weight_N * (self._score_N - prob_N))[:, None]
        scaled_NP = self._design_NP * (self._weight_N * prob_N * (1 - prob_N))[:, None]
        hessian_PP = self._design_NP.T @ scaled_NP + _RIDGE * np.eye(len(self._weights_P))
        return gradients_NP, hessian_PP

    def _elo(self, weights_BP: Floats) -> Floats:
        logits_BC = weights_BP[:, : self._num]
        elo_BC: Floats = BASE_RATING + _TO_ELO * (logits_BC - logits_BC.mean(axis=1, keepdims=True))
        return elo_BC


def _who(votes: Votes) -> Floats:
    """+1 for the left contestant, -1 for the right one, `[N, C]`."""
    who_NC = np.zeros((len(votes), len(votes.names)))
    rows_N = np.arange(len(votes))
    who_NC[rows_N, votes.sides_N2[:, 0]] = 1.0
    who_NC[rows_N, votes.sides_N2[:, 1]] = -1.0
    return who_NC


def _style(votes: Votes) -> Floats:
    """The difference in style, left minus right, each feature scaled to standard deviation 1, `[N, F]`."""
    left_NF, right_NF = votes.style_N2F[:, 0], votes.style_N2F[:, 1]
    total_NF = left_NF + right_NF
    differs_NF = np.divide(left_NF - right_NF, total_NF, out=np.zeros_like(total_NF), where=total_NF > 0)
    spread_F = differs_NF.std(axis=0)
    standard_NF: Floats = differs_NF / np.where(spread_F > 0, spread_F, 1.0)
    return standard_NF
