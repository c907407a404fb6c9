"""What is looked up in a member's own ids is what the whole distribution says, in the union's order."""

from __future__ import annotations

from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.distribution.mixed_distribution import MixedDistribution
from gac_app.decoding.distribution.own_distribution import OwnDistribution
from gac_app.decoding.distribution.read_result import MayDraft, ReadResult
from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import UnionVocabulary
from tests.vocab.vocabularies import vocabularies, vocabulary

members = st.lists(vocabularies(), min_size=1, max_size=3)


def distributions_of(mapping: VocabMapping, seed: int, scale: float) -> tuple[OwnDistribution, TokenDistribution]:
    logits_V = scale * torch.randn(len(mapping.vocabulary), generator=torch.Generator().manual_seed(seed))
    whole = TokenDistribution(mapping.project(logits_V.clone().unsqueeze(0))[0])
    return OwnDistribution(mapping, mapping.own_probs(logits_V.numpy())), whole


@pytest.mark.slow
@given(members, st.integers(0, 2**32), st.sampled_from([0.1, 3.0, 30.0]))
def test_single_values_are_those_of_the_whole(vocabularies: list[MemberVocabulary], seed: int, scale: float) -> None:
    union = UnionVocabulary.build(vocabularies)
    ids = range(len(union))
    for vocab in vocabularies:
        own, whole = distributions_of(VocabMapping(vocab, union), seed, scale)
        assert own.at(list(ids)).tolist() == whole.probs_U.tolist()
        assert [own.rank_of(token_id) for token_id in ids] == [whole.rank_of(token_id) for token_id in ids]
        ranges = [range(start, min(start + 5, len(union))) for start in ids]
        cuts = own.cuts(ranges)
        assert cuts == whole.cuts(ranges)
        assert [ends for ends, _ in cuts] == [whole.ends_at(ids.start) for ids in ranges]
        assert [begun for _, begun in cuts] == [own.prob_within(ids) for ids in ranges]
        assert [begun for _, begun in cuts] == pytest.approx([float(whole.probs_U[list(ids)].sum()) for ids in ranges])
        assert torch.equal(own.probs_U, whole.probs_U)
        assert own.at(list(ids)).tolist() == whole.probs_U.tolist(), "and after all was looked at"


@given(vocabularies(), st.integers(0, 2**32), st.sampled_from([0.0, 0.3]), st.randoms())
def test_a_share_and_added_tokens_are_a_whole(vocab: MemberVocabulary, seed: int, share: float, draw: Random) -> None:
    union = UnionVocabulary.build([vocab])
    ids = range(len(union))
    base, plain = distributions_of(VocabMapping(vocab, union), seed, 3.0)
    added = {token_id: draw.random() for token_id in draw.sample(ids, draw.randint(0, len(ids)))}
    probs_U = plain.probs_U * share
    probs_U[list(added)] += torch.tensor(list(added.values()))
    mixed, whole = MixedDistribution(base, share, added, {}), TokenDistribution(probs_U)
    assert mixed.at(list(ids)).tolist() == probs_U.tolist()
    assert [prob for _, prob in mixed.top] == [prob for _, prob in whole.top]
    assert [float(probs_U[token_id]) for token_id, _ in mixed.top] == [prob for _, prob in whole.top]
    ranges = [range(start, min(start + 5, len(union))) for start in ids]
    assert mixed.cuts(ranges) == whole.cuts(ranges)
    assert torch.equal(mixed.probs_U, probs_U)


def test_tokens_as_likely_share_the_better_rank() -> None:
    """The first twenty or so are known by the top, the others are counted."""
    probs_U = torch.tensor([0.2, 0.3, 0.2, 0.2, *[0.001] * 50, *[0.0005] * 100])
    union = UnionVocabulary([bytes([byte]) for byte in range(153)])
    vocab = vocabulary([*(union.token(token_id) for token_id in range(153)), None], end_ids=[153])
    mapping = VocabMapping(vocab, union)
    own = OwnDistribution(mapping, mapping.own_probs(probs_U.log().numpy()))
    for distribution in (TokenDistribution(probs_U), own):
        assert [distribution.rank_of(token_id) for token_id in (1, 0, 2, 3)] == [1, 2, 2, 2]
        assert {distribution.rank_of(token_id) for token_id in range(4, 54)} == {5}
        assert {distribution.rank_of(token_id) for token_id in range(54, 154)} == {55}


def test_more_than_there_is_gives_all_in_order() -> None:
    vocab = vocabulary([b"a", b"b", b"c", b"d"])
    own, whole = distributions_of(VocabMapping(vocab, UnionVocabulary([b"a", b"b", b"c", b"d"])), 1, 1.0)
    nested = [range(4), range(1, 4), range(1, 2)]
    assert own.cuts(nested) == whole.cuts(nested)
    assert own.cuts(nested[1:]) == own.cuts(nested)[1:], "and again"


@given(members, st.integers(0, 2**32), st.booleans())
def test_a_read_result_knows_its_top_tokens(vocabularies: list[MemberVocabulary], seed: int, is_lazy: bool) -> None:
    """Of a small vocabulary they are more than have a probability."""
    union = UnionVocabulary.build(vocabularies)
    for vocab in vocabularies:
        mapping = VocabMapping(vocab, union)
        logits_V = torch.randn(len(vocab), generator=torch.Generator().manual_seed(seed))
        probs_U = mapping.project(logits_V.clone().unsqueeze(0))[0]
        result = ReadResult(mapping, logits_V.unsqueeze(0), 1, MayDraft(is_on=is_lazy))
        ids, probs = zip(*result.distributions[0].top, strict=True)
        assert list(probs) == probs_U[list(ids)].tolist()
        assert list(probs) == probs_U.sort(descending=True).values[: len(probs)].tolist()
