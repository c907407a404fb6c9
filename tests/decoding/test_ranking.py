"""The fast ways give what the plain ones of torch give."""

from __future__ import annotations

import pytest
import torch

from gac_app.decoding.ranking import argmax, rank_of, top_k

SIZES = (1, 7, 511, 512, 513, 5_000, 16_384, 40_001)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_the_largest_are_those_of_torch(size: int, seed: int) -> None:
    probs_NU = torch.rand(3, size, generator=torch.Generator().manual_seed(seed))
    values, ids = top_k(probs_NU, 8)
    expected = probs_NU.topk(min(8, size), dim=1)
    assert torch.equal(values, expected.values)
    assert torch.equal(probs_NU.gather(1, ids), values)
    assert all(len(set(row.tolist())) == len(row) for row in ids)


@pytest.mark.parametrize("size", SIZES)
def test_the_first_of_equal_values_is_the_largest(size: int) -> None:
    probs_U = torch.rand(size, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    assert argmax(probs_U) == int(probs_U.numpy().argmax())


@pytest.mark.parametrize("place", [0, 511, 512, 39_999, 40_000])
def test_the_largest_is_found_in_every_block(place: int) -> None:
    probs_U = torch.zeros(40_001)
    probs_U[place] = 1
    assert argmax(probs_U) == place == int(top_k(probs_U.unsqueeze(0), 8)[1][0, 0])


def test_a_rank_counts_what_is_larger() -> None:
    assert [rank_of(i, torch.tensor([0.2, 0.5, 0.2, 0.1])) for i in range(4)] == [2, 1, 2, 4]
