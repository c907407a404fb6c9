"""The fast ways give what the plain ones of torch give."""

from __future__ import annotations

import math

import pytest
import torch

from gac_app.decoding.distribution.ranking import rank_of, top_k

SIZES = (1, 7, 511, 512, 513, 5_000, 16_384, 40_001, 140_001)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("power", [0, 1, 40])  # 0: all are equal
@pytest.mark.parametrize("decimals", [1, 7])  # 1: many are equal
@pytest.mark.parametrize("k", [8, 64])
def test_the_largest_are_those_of_torch(size: int, power: int, decimals: int, k: int) -> None:
    probs_U = torch.rand(size, generator=torch.Generator().manual_seed(size)).round(decimals=decimals) ** power
    ids, values = zip(*top_k(probs_U, k), strict=True)
    assert list(values) == probs_U.topk(min(k, size)).values.tolist() == probs_U[list(ids)].tolist()
    assert len(set(ids)) == min(k, size)


@pytest.mark.parametrize("size", [16, 40_001])
def test_what_is_no_number_is_found(size: int) -> None:
    assert all(math.isnan(value) for _, value in top_k(torch.full((size,), torch.nan), 8))


@pytest.mark.parametrize("place", [0, 511, 512, 39_999, 40_000])
def test_the_largest_is_found_in_every_block(place: int) -> None:
    probs_U = torch.rand(40_001, generator=torch.Generator().manual_seed(1)) / 2
    probs_U[place] = 1
    assert top_k(probs_U, 8)[0] == (place, 1.0)


def test_a_rank_counts_what_is_larger() -> None:
    assert [rank_of(i, torch.tensor([0.2, 0.5, 0.2, 0.1])) for i in range(4)] == [2, 1, 2, 4]
