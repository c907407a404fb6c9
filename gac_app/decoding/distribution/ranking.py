"""A few of a quarter of a million probabilities, wherever these are, in one transfer to the CPU.

The largest are found at a fraction of the cost of sorting or of `topk`: the maxima of blocks tell which blocks hold
them; only those blocks are searched.

Shape suffixes: `U` the union vocabulary, `K` the largest, `B` ranges of ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt
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


def values_at(probs_U: torch.Tensor, ids: Sequence[int] | npt.NDArray[np.int64]) -> torch.Tensor:
    """Single values."""
    if probs_U.is_cpu:
        return torch.from_numpy(probs_U.numpy()[ids])  # in a fifth of torch's time
    return probs_U[torch.as_tensor(ids, device=probs_U.device)].cpu()


def firsts_and_sums(
    probs_U: torch.Tensor, ranges: Sequence[range]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The first value of each range of ids, and the sum of its values. There has to be one, and none may be empty."""
    if probs_U.is_cpu:
        values = np.concatenate([probs_U.numpy()[ids.start : ids.stop] for ids in ranges])
        starts = list(accumulate(map(len, ranges[:-1]), initial=0))
        return values[starts].astype(np.float64), np.add.reduceat(values, starts).astype(np.float64)
    totals_U = torch.cat([probs_U.new_zeros(1, dtype=torch.float64), probs_U.double().cumsum(0)])
    starts_B, stops_B = torch.tensor([(ids.start, ids.stop) for ids in ranges], device=probs_U.device).T
    firsts_B, sums_B = torch.stack([probs_U[starts_B].double(), totals_U[stops_B] - totals_U[starts_B]]).cpu().numpy()
    return firsts_B, sums_B
