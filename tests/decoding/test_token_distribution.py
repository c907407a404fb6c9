"""What is looked up in a distribution is what the whole of it says; the fast ways give what torch's plain ones do."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.distribution import ScaledDistribution, TokenDistribution, distributions_of
from gac_app.decoding.distribution.ranking import top_k
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import UnionVocabulary
from tests.told_member import Teller, told_of
from tests.vocab.vocabularies import vocabularies

members = st.lists(vocabularies(), min_size=1, max_size=3)


def logits_of(vocab: MemberVocabulary, seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(len(vocab), generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
@given(members, st.integers(0, 2**32), st.sampled_from([0.1, 3.0, 30.0]))
def test_single_values_are_those_of_the_whole(vocabularies: list[MemberVocabulary], seed: int, scale: float) -> None:
    """So is the top, which of a small vocabulary has more tokens than have a probability."""
    union = UnionVocabulary.build(vocabularies)
    ids = range(len(union))
    for vocab in vocabularies:
        [known] = distributions_of(VocabMapping(vocab, union), logits_of(vocab, seed, scale).unsqueeze(0))
        assert known.at(list(ids)).tolist() == known.probs_U.tolist()
        top_ids, top = zip(*known.top, strict=True)
        assert list(top) == known.probs_U[list(top_ids)].tolist()
        assert list(top) == known.probs_U.sort(descending=True).values[: len(top)].tolist()
        ranges = [range(start, min(start + 5, len(union))) for start in ids]
        begun = known.probs_within(ranges)
        assert begun == [known.prob_within(ids) for ids in ranges]
        assert begun == pytest.approx([float(known.probs_U[list(ids)].sum()) for ids in ranges])
        ends = [known.ends_at(ids.start) for ids in ranges]
        for found, expected in zip(known.prefix_mass_bounds(ranges), (ends, np.subtract(begun, ends)), strict=True):
            assert [bound.tolist() for bound in found] == [pytest.approx(expected, abs=1e-12)] * 2


@given(vocabularies(), st.integers(0, 2**32), st.sampled_from([0.0, 0.3]), st.randoms())
def test_a_share_and_added_tokens_are_a_whole(vocab: MemberVocabulary, seed: int, share: float, draw: Random) -> None:
    """Also where only some tokens of the base are told at first."""
    union = UnionVocabulary.build([vocab])
    ids, mapping, logits_V = range(len(union)), VocabMapping(vocab, union), logits_of(vocab, seed, 3.0)
    base = told_of(logits_V.clone(), mapping, len(vocab) // 2 + 1, Teller())
    added = {token_id: draw.random() for token_id in draw.sample(ids, draw.randint(0, len(ids)))}
    probs_U = mapping.project(logits_V.unsqueeze(0))[0] * share
    probs_U[list(added)] += torch.tensor(list(added.values()))
    mixed, whole = ScaledDistribution(base, share, added, {}), TokenDistribution(probs_U)
    assert mixed.at(list(ids)).tolist() == pytest.approx(probs_U.tolist(), rel=1e-4, abs=1e-6)
    assert [prob for _, prob in mixed.top] == pytest.approx([prob for _, prob in whole.top], rel=1e-4, abs=1e-6)
    ranges = [range(start, min(start + 5, len(union))) for start in ids]
    assert mixed.probs_within(ranges) == pytest.approx(whole.probs_within(ranges), rel=1e-4, abs=1e-6)
    torch.testing.assert_close(mixed.probs_U, probs_U, rtol=1e-4, atol=1e-6)


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
