"""A member's distributions in the union against a slow reference; what is fed comes back as the same bytes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gac_app.errors import VocabularyError
from gac_app.vocab.mapping import MAX_TOKEN_BYTES, VocabMapping
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import UnionVocabulary
from tests.vocab.vocabularies import ALL_BYTES, vocabularies, vocabulary

members = st.lists(vocabularies(), min_size=1, max_size=3)


def reference_U(
    vocabulary: MemberVocabulary, union: UnionVocabulary, logits: list[float], *, keeps_control: bool = False
) -> list[float]:
    """The paper's M^i written out: every id's weight goes to its union token, and the whole is made to sum to 1."""
    top = max(logits)
    weights = [0.0] * len(union)
    for token_id, logit in enumerate(logits):
        token = vocabulary.token_bytes[token_id]
        if token_id in vocabulary.end_ids or (keeps_control and token is None):
            weights[union.end_id] += math.exp(logit - top)
        elif token in union.tokens:
            weights[union.tokens.index(token)] += math.exp(logit - top)
    return [weight / math.fsum(weights) for weight in weights]


@pytest.mark.slow
@given(members, st.integers(0, 2**32), st.sampled_from([0.1, 3.0, 30.0]), st.booleans())
def test_project_equals_a_slow_reference(vocabs: list[MemberVocabulary], seed: int, scale: float, keeps: bool) -> None:
    union = UnionVocabulary.build(vocabs)
    for vocab in vocabs:
        logits_NV = scale * torch.randn(2, len(vocab), generator=torch.Generator().manual_seed(seed))
        rows = [reference_U(vocab, union, row.double().tolist(), keeps_control=keeps) for row in logits_NV]
        expected = torch.tensor(rows)
        mapping = VocabMapping(vocab, union, keeps_control=keeps)
        by_logits_NU = mapping._project_logits(logits_NV)  # a GPU's way; a CPU maps probabilities
        probs_NU = mapping.project(logits_NV)
        assert mapping.feed(union.end_id) == ()
        torch.testing.assert_close(by_logits_NU, expected, atol=1e-6, rtol=1e-4)
        assert probs_NU.dtype == torch.float32
        torch.testing.assert_close(probs_NU.sum(1), torch.ones(2), atol=1e-5, rtol=0)
        torch.testing.assert_close(probs_NU, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("end_ids", [[4, 5], [4], []])
def test_control_tokens_that_are_kept_count_as_the_end(end_ids: list[int]) -> None:
    vocab = vocabulary([b"a", b"b", b"a", None, None, None, b"a"], end_ids=end_ids)
    union = UnionVocabulary([b"a", b"b", b"c"])
    logits_NV = torch.tensor([[0.1, 0.2, 0.1, 0.2, 0.1, 0.1, 0.2]]).log()
    mapping, expected_NU = VocabMapping(vocab, union, keeps_control=True), torch.tensor([[0.4, 0.2, 0.0, 0.4]])
    torch.testing.assert_close(mapping._project_logits(logits_NV), expected_NU)
    torch.testing.assert_close(mapping.project_logs(logits_NV), expected_NU.log())
    torch.testing.assert_close(mapping.project(logits_NV), expected_NU)
    assert mapping.counts_U.tolist() == [3, 1, 0, 3]


def test_nothing_is_lost_beside_a_likely_control_token() -> None:
    vocab = vocabulary([b"a", b"b", None])
    probs_NU = VocabMapping(vocab, UnionVocabulary([b"a", b"b"])).project(torch.tensor([[1.0, 0.0, 400.0]]))
    torch.testing.assert_close(probs_NU[0, :2], torch.softmax(torch.tensor([1.0, 0.0]), 0))


def test_what_is_no_number_stays_none() -> None:
    probs_NU = VocabMapping(vocabulary([b"a", b"b"]), UnionVocabulary([b"a"])).project(torch.tensor([[torch.nan, 0.0]]))
    assert bool(probs_NU.isnan().any())


def test_whether_a_token_goes_on_into_a_piece() -> None:
    union = UnionVocabulary([b"  ", b" print", b"ab", b"c", b"cd", b"d"])
    mapping = VocabMapping(vocabulary([b"ab", b"c", b"  "]), union)
    for before, piece, is_spanned in (
        (b"a", b"b", True),  # as far as the piece goes
        (b"", b"a", True),  # beyond it
        (b" ", b" print", True),  # not to its end
        (b"ab", b"c", False),
        (b"c", b"d", False),  # a token of another member
        (b"x", b"y", False),
    ):
        assert mapping.spans(before, piece) == is_spanned, (before, piece)
    mapping = VocabMapping(vocabulary([b"xabc"]), UnionVocabulary([b"xa", b"xab", b"xabc", b"xabcd", b"xabd"]))
    for piece, is_spanned in ((b"abcd", True), (b"abd", False), (b"ab", True), (b"abcz", True)):
        assert mapping.spans(b"x", piece) is is_spanned, piece


def test_what_a_spelling_begins_with() -> None:
    vocab = vocabulary([*ALL_BYTES, b"ab"], encode=lambda text: list(text.encode()))
    mapping = VocabMapping(vocab, UnionVocabulary([b"a", b"ab", b"abc", b"b", b"c", b"zz"]))
    assert [mapping.first(union_id) for union_id in range(7)] == [0, 1, 0, 3, 4, 5, 6], "no union token is z"


def test_the_longest_pieces_spell_bytes_that_are_no_text() -> None:
    longest = b"\xff" * MAX_TOKEN_BYTES
    mapping = VocabMapping(vocabulary([*ALL_BYTES, longest, b"\xffa"]), UnionVocabulary([]))
    assert mapping.spell(longest + b"\xffab") == (256, 257, 98)


def test_project_takes_tokens_that_a_member_rules_out() -> None:
    vocab = vocabulary([b"a", b"b", b"a"])
    logits_NV = torch.tensor([[-torch.inf, 1.0, -torch.inf]])
    probs_NU = VocabMapping(vocab, UnionVocabulary([b"a", b"b"])).project(logits_NV)
    assert probs_NU.tolist() == [[0.0, 1.0, 0.0]]


@given(members)
@example([vocabulary(ALL_BYTES), vocabulary([*ALL_BYTES[:255], b"\xffz"])])  # 0xFF is no union token
def test_union_tokens_fed_to_members_are_the_same_bytes(vocabularies: list[MemberVocabulary]) -> None:
    union = UnionVocabulary.build(vocabularies)
    for vocab in vocabularies:
        mapping = VocabMapping(vocab, union)
        for union_id, token in enumerate(union.tokens):
            ids = mapping.feed(union_id)
            assert vocab.decode(list(ids)) == token
            assert not vocab.end_ids & set(ids)
            assert all(vocab.token_bytes[i] is not None for i in ids)
        assert mapping.feed(union.end_id) == ()


@given(vocabularies())
def test_an_ordinary_token_is_fed_before_a_byte_token(vocab: MemberVocabulary) -> None:
    mapping = VocabMapping(vocab, UnionVocabulary.build([vocab]))
    for union_id, token in enumerate(mapping.union.tokens):
        owners = {i for i, own in enumerate(vocab.token_bytes) if own == token and i not in vocab.end_ids}
        (fed,) = mapping.feed(union_id)
        assert fed in owners
        assert fed not in vocab.byte_ids or owners <= vocab.byte_ids


def test_of_twins_the_tokenisers_own_is_fed() -> None:
    vocab = vocabulary([b".", b".", b"."], byte_ids=[0], encode=lambda text: [2])
    assert VocabMapping(vocab, UnionVocabulary([b"."])).feed(0) == (2,)


def test_of_twins_the_ordinary_one_spells_what_is_no_text() -> None:
    vocab = vocabulary([*ALL_BYTES, b"\xff"], byte_ids=range(256))
    assert VocabMapping(vocab, UnionVocabulary.build([vocab])).spell(b"a\xff") == (97, 256)
    vocab = vocabulary([b"\xff", *ALL_BYTES], byte_ids=range(1, 257))
    assert VocabMapping(vocab, UnionVocabulary.build([vocab])).spell(b"a\xff") == (98, 0)


def test_the_members_tokeniser_spells_what_it_has_no_token_for() -> None:
    tokens: list[bytes | None] = [*ALL_BYTES, b"ab", b"abc", b"cd"]
    vocab = vocabulary(tokens, encode=lambda text: [256, 258] if text == "abcd" else [ord(c) for c in text])
    assert VocabMapping(vocab, UnionVocabulary([b"abcd"])).feed(0) == (256, 258)


@pytest.mark.parametrize("wrong", [[97], [98, 97], [97, 256], [97, 257], []])
def test_a_tokeniser_that_changes_the_text_is_not_asked(wrong: list[int]) -> None:
    vocab = vocabulary([*ALL_BYTES, None, b"b"], end_ids=[257], encode=lambda text: wrong)
    assert VocabMapping(vocab, UnionVocabulary([b"ab"])).feed(0) == (97, 98)


def test_a_byte_that_the_member_lacks_is_named() -> None:
    mapping = VocabMapping(vocabulary(ALL_BYTES[:255]), UnionVocabulary([]))
    with pytest.raises(VocabularyError, match="0xFF"):
        mapping.spell(b"a\xff")
