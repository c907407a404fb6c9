"""The fast ways give what the plain ones of torch give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gac_app.decoding.distribution.ranking import argmax, largest, rank_of, top_k, top_k_knowing

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
@pytest.mark.parametrize("decimals", [1, 7])  # 1: many are equal
def test_the_largest_of_one_row_are_those_of_torch(size: int, decimals: int) -> None:
    probs_U = torch.rand(size, generator=torch.Generator().manual_seed(size)).round(decimals=decimals)
    ids = largest(probs_U.numpy(), 8).tolist()
    assert probs_U[ids].tolist() == probs_U.topk(min(8, size)).values.tolist()
    assert len(set(ids)) == min(8, size)


@pytest.mark.parametrize("size", [16, 40_001])
def test_what_is_no_number_is_found(size: int) -> None:
    values = np.full(size, np.nan, dtype=np.float32)
    assert np.isnan(values[largest(values, 8)]).all()


@pytest.mark.parametrize("num_known", [8, 11])
@pytest.mark.parametrize("power", [0, 1, 40])  # 0: all are equal
@pytest.mark.parametrize("size", [11, 5_000, 40_001])
def test_knowing_some_changes_nothing(size: int, power: int, num_known: int) -> None:
    probs_U = torch.rand(size, generator=torch.Generator().manual_seed(size)) ** power
    expected = probs_U.topk(8).values
    for ids in (probs_U.topk(num_known).indices.tolist(), list(range(num_known)), [*range(1, num_known), size - 1]):
        values, found = top_k_knowing(probs_U, 8, ids)
        assert torch.equal(values, expected)
        assert torch.equal(probs_U[found], values)
        assert len(set(found.tolist())) == 8


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
