"""The union: independent of order and hash seed, END pooled, control tokens apart, everything in it can be fed."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.errors import VocabularyError
from gac_app.vocab.tokens import MemberVocabulary
from gac_app.vocab.union import UnionVocabulary
from tests.vocab.vocabularies import ALL_BYTES, vocabularies, vocabulary


def test_tokens_that_begin_with_the_last_byte_are_found() -> None:
    union = UnionVocabulary([b"a", b"\xfe", b"\xff", b"\xff\xff", b"\xffz"])
    for prefix, found in ((b"\xff", [b"\xff", b"\xffz", b"\xff\xff"]), (b"\xff\xff", [b"\xff\xff"]), (b"a", [b"a"])):
        assert [union.tokens[token_id] for token_id in union.extensions(prefix)] == found


def test_ids_are_ranks_and_end_is_the_last() -> None:
    union = UnionVocabulary([b"b", b"a", b"ab", b"b"])
    assert union.tokens == (b"a", b"ab", b"b")
    assert union.ids == {b"a": 0, b"ab": 1, b"b": 2}
    assert (union.end_id, len(union), union.token(1), union.token(3)) == (3, 4, b"ab", b"")


@given(st.lists(st.text("abc", min_size=1, max_size=5).map(str.encode)), st.text("abc", max_size=9).map(str.encode))
def test_the_longest_token_is_found_where_there_is_one(tokens: list[bytes], text: bytes) -> None:
    union = UnionVocabulary(tokens)
    if beginnings := [token for token in tokens if text.startswith(token)]:
        assert union.token(union.longest(text)) == max(beginnings, key=len)
    else:
        with pytest.raises(VocabularyError, match="no token begins"):
            union.longest(text)


def test_no_table_is_left_for_the_first_answer() -> None:
    union = UnionVocabulary([b"a", b"ab"])
    made = {*vars(union)}
    assert (union.longest(b"abc"), union.ids[b"ab"], union.after(1, 0)) == (1, 1, (1, False))
    assert {*vars(union)} == made


@given(st.lists(vocabularies(), min_size=1, max_size=3))
def test_ids_are_ranks_whatever_the_order_of_the_members(members: list[MemberVocabulary]) -> None:
    """So they do not depend on a hash seed either."""
    [tokens] = {UnionVocabulary.build(order).tokens for order in permutations(members)}
    assert tokens == tuple(sorted(set(tokens)))


@given(st.lists(vocabularies(), min_size=1, max_size=3))
def test_every_token_is_some_members_ordinary_token(members: list[MemberVocabulary]) -> None:
    ordinary = {t for v in members for i, t in enumerate(v.token_bytes) if t and i not in v.end_ids}
    assert set(UnionVocabulary.build(members).tokens) <= ordinary


def test_end_tokens_are_pooled_and_control_tokens_stay_out() -> None:
    first = vocabulary([*ALL_BYTES, None, b"</s>", None], end_ids=[257, 258])
    second = vocabulary([None, *ALL_BYTES, b"the"], end_ids=[0])
    union = UnionVocabulary.build([first, second])
    assert len(union) == 256 + 1 + 1  # bytes, "the", END
    assert b"</s>" not in union.ids
    assert b"</s>" in UnionVocabulary.build([first, vocabulary([*ALL_BYTES, b"</s>"])]).ids  # Gemma's is the HTML tag
    assert union.ids_of(first).tolist()[256:] == [-1, union.end_id, union.end_id]
    assert union.ids_of(second).tolist()[::257] == [union.end_id, union.ids[b"the"]]


@pytest.mark.parametrize(("token", "is_kept"), [(b"\xff", False), (b"a\xff", False), (b"\xffz", True), (b"ab", True)])
def test_a_token_that_a_member_cannot_be_fed_stays_out(token: bytes, is_kept: bool) -> None:
    without_ff = vocabulary([*ALL_BYTES[:255], b"\xffz"])
    rich = vocabulary([*ALL_BYTES, b"a\xff", b"\xffz", b"ab"])
    assert (token in UnionVocabulary.build([without_ff, rich]).ids) is is_kept
