"""The largest of a quarter of a million probabilities, at a fraction of the cost of sorting or of `topk`.

The maxima of blocks tell which blocks hold the largest values; only those blocks are searched.

Shape suffixes: `N` positions, `U` the union vocabulary, `K` the largest, `B` blocks, `W` values within the blocks.
"""

from __future__ import annotations

import numpy as np
import torch

from gac_app.vocab.mapping import FloatV, IdArray

_BLOCK = 512  # values; about the root of a vocabulary
_FEW = 1024  # values that sort quickly


def top_k(probs_NU: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `k` largest values of each row and their ids, [N, K] each, largest first; fewer where a row is shorter.

    Which of equal values come first is not defined, as with `torch.topk`.
    """
    size = probs_NU.shape[1]
    if size < 4 * _BLOCK * k:
        top = probs_NU.topk(min(k, size), dim=1)
        return top.values, top.indices
    whole = size // _BLOCK * _BLOCK
    maxima_NB = probs_NU[:, :whole].reshape(len(probs_NU), -1, _BLOCK).amax(2)
    starts_NK = maxima_NB.topk(k, dim=1).indices * _BLOCK
    within = torch.arange(_BLOCK, device=probs_NU.device)
    ids_NW = (starts_NK.unsqueeze(2) + within).flatten(1)
    rest_NW = torch.arange(whole, size, device=probs_NU.device).expand(len(probs_NU), -1)
    ids_NW = torch.cat([ids_NW, rest_NW], dim=1)
    top = probs_NU.gather(1, ids_NW).topk(k, dim=1)
    return top.values, ids_NW.gather(1, top.indices)


def largest(values: FloatV, k: int) -> IdArray:
    """The ids of the `k` largest values, [K], largest first: `top_k` of one row on a CPU, where numpy's calls cost less
    than torch's. Which of equal values come first is not defined.
    """
    if len(values) >= 4 * _BLOCK * k:
        maxima = values[: len(values) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).max(1)
        found = _largest_from(np.partition(maxima, -k)[-k], values, k)
        if found is not None:
            return found
    ids: IdArray = torch.from_numpy(values).topk(min(k, len(values))).indices.numpy()
    return ids


def _largest_from(least: np.float32, values: FloatV, k: int) -> IdArray | None:
    """The ids of the `k` largest values, all at least `least`. None if too many values are that large, or if they are
    NaN.
    """
    ids: IdArray = np.flatnonzero(values >= least)
    return ids[np.argsort(-values[ids], kind="stable")[:k]] if k <= len(ids) <= _FEW else None


def argmax(probs_U: torch.Tensor) -> int:
    """The id of the largest value, the first one of equals."""
    if probs_U.device.type == "cpu":
        return int(probs_U.numpy().argmax())
    return int(probs_U.argmax())


def top_k_knowing(probs_U: torch.Tensor, k: int, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The `k` largest values and their ids, [K] each, largest first. Faster the more of them are among `ids`.

    Args:
        ids: at least `k` of them, all different.
    """
    if probs_U.device.type == "cpu":
        values = probs_U.numpy()
        large = _largest_from(np.sort(values[ids])[-k], values, k)
        if large is not None:
            found = torch.from_numpy(large)
            return probs_U[found], found
    top_probs_NK, top_ids_NK = top_k(probs_U.unsqueeze(0), k)
    return top_probs_NK[0], top_ids_NK[0]


def rank_of(token_id: int, probs_U: torch.Tensor) -> int:
    """The number of values larger than this id's, plus 1."""
    if probs_U.device.type == "cpu":  # numpy compares and counts ten times as fast
        values = probs_U.numpy()
        return int(np.count_nonzero(values > values[token_id])) + 1
    return int(torch.count_nonzero(probs_U > probs_U[token_id])) + 1
