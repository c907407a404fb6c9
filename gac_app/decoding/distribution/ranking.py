"""The largest of a quarter of a million probabilities, at a fraction of the cost of sorting or of `topk`.

The maxima of blocks tell which blocks hold the largest values; only those blocks are searched.

Shape suffixes: `U` the union vocabulary, `K` the largest.
"""

from __future__ import annotations

import numpy as np
import torch

_BLOCK = 512  # values; about the root of a vocabulary


def top_k(probs_U: torch.Tensor, k: int) -> list[tuple[int, float]]:
    """The ids of the `k` largest values with these, largest first; fewer where there are fewer.

    Which of equal values come first is not defined.
    """
    values_K, ids_K = largest(probs_U, k)
    return list(zip(ids_K.tolist(), values_K.tolist(), strict=True))


def largest(probs_U: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """As `top_k`: the values and the ids, on the CPU. Where all are wanted, the first of equals comes first."""
    num_blocked = probs_U.shape[0] // _BLOCK * _BLOCK
    if probs_U.is_cpu and num_blocked >= 4 * _BLOCK * k:
        values = probs_U.numpy()
        blocks = values[:num_blocked].reshape(-1, _BLOCK)
        maxima = blocks.max(1)
        least = np.partition(maxima, -k)[-k]
        at = (maxima >= least).nonzero()[0]
        if k <= len(at) <= 2 * k:  # otherwise many values are equal, or they are NaN
            rows, columns = (blocks[at] >= least).nonzero()
            after = num_blocked + (values[num_blocked:] >= least).nonzero()[0]
            ids = np.concatenate((at[rows] * _BLOCK + columns, after))
            ids_K = ids[(-values[ids]).argsort(kind="stable")[:k]]
            return torch.from_numpy(values[ids_K]), torch.from_numpy(ids_K)
    is_all = k >= probs_U.shape[0]
    top = probs_U.sort(descending=True, stable=True) if is_all else probs_U.topk(k)
    return top.values.cpu(), top.indices.cpu()


def rank_of(token_id: int, probs_U: torch.Tensor) -> int:
    """The number of values larger than this id's, plus 1."""
    is_larger_U = probs_U > probs_U[token_id]
    return 1 + int(np.count_nonzero(is_larger_U.numpy()) if probs_U.is_cpu else is_larger_U.sum())
