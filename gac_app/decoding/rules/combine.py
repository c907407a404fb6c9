"""The ensemble distribution (paper, section 3.1): q = sum_i w_i p^i M^i, a weighted mean in the union.

Shape suffixes: `M` members, `U` the union vocabulary, `K` the tokens that are united.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch

from gac_app.decoding.distribution.ranking import top_k
from gac_app.vocab.mapping import VocabMapping


class Combine(Protocol):
    """Makes one distribution of several."""

    def __call__(self, rows: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
        """By member name, distributions of shape [U] and weights that sum to 1; on the first one's device."""


def mean(rows: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    """The weighted mean over the whole union; one member's distribution as it is."""
    (first, probs_U), *others = rows.items()
    if not others:
        return probs_U
    mixed_U = probs_U * weights[first]
    for name, other_U in others:
        mixed_U.add_(other_U.to(mixed_U.device, non_blocking=True), alpha=weights[name])
    return mixed_U


class UniteTopK:
    """The mean over the members' favourites alone: UniTE (arXiv 2410.03777).

    The `k` favourites of each member taking part are united, and a member's probabilities are normalised over them. To
    a token that it lacks it gives what it gives to the first piece of its spelling. One member's distribution is as it
    is.

    Args:
        mappings: by member name.
    """

    def __init__(self, k: int, mappings: Mapping[str, VocabMapping]) -> None:
        self._k = k
        self._mappings = mappings

    def __call__(self, rows: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
        if len(rows) == 1:
            return next(iter(rows.values()))
        favourites = [top_k(probs_U.unsqueeze(0), self._k)[1][0].tolist() for probs_U in rows.values()]
        ids = sorted({token_id for own in favourites for token_id in own})
        mixed_U = torch.zeros_like(next(iter(rows.values())))
        for name, probs_U in rows.items():
            first_ids = [self._mappings[name].first(token_id) for token_id in ids]
            probs_K = probs_U[torch.tensor(first_ids, device=probs_U.device)]
            mixed_U[torch.tensor(ids, device=mixed_U.device)] += (weights[name] / probs_K.sum() * probs_K).to(
                mixed_U.device
            )
        return mixed_U
