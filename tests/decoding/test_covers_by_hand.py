"""Weights, boundaries and distributions of covers, worked by hand."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.alignment import Boundary, Covers
from gac_app.decoding.contexts.fed_text import FedText
from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.tokens import whole_characters
from gac_app.vocab.union import UnionVocabulary
from tests.vocab.vocabularies import vocabulary

UNION = UnionVocabulary([b"a", b"ab", b"abc", b"abcd", b"b", b"bc", b"c", b"d"])
OWN: list[bytes | None] = [b"d", b"c", b"b", b"a", b"ab", b"abc", b"abcd"]  # it spells bc by two ids


def covers_of() -> Covers:
    return Covers(VocabMapping(vocabulary(OWN), UNION))


def learn(covers: Covers, *probs: dict[bytes, float]) -> None:
    def distribution(by_token: dict[bytes, float]) -> TokenDistribution:
        probs_U = torch.zeros(len(UNION))
        for token, prob in by_token.items():
            probs_U[UNION.ids[token]] = prob
        return TokenDistribution(probs_U)

    covers.learn([distribution(by_token) for by_token in probs])


def state(covers: Covers) -> list[tuple[int, tuple[int, ...], float, bool]]:
    """(where it ends, its ids, weight, whether it is read) of each cover."""
    return [(c.boundary.end, c.boundary.ids, pytest.approx(c.weight), c.distribution is not None) for c in covers.live]


def told(covers: Covers) -> dict[bytes, float]:
    probs = covers.distribution().probs_U.tolist()
    return {token: pytest.approx(prob) for token, prob in zip(UNION.tokens, probs, strict=False) if prob}


def test_covers_told_letter_by_letter() -> None:
    covers = covers_of()
    assert (covers.is_settled, covers.last.end, covers.unread) == (True, 0, [covers.last])
    learn(covers, {b"a": 0.3, b"ab": 0.5, b"abc": 0.1, b"b": 0.1})
    assert covers.is_settled
    assert told(covers) == {b"a": 0.3, b"ab": 0.5, b"abc": 0.1, b"b": 0.1}

    assert covers.advance(b"a", is_partial=True) is covers.last
    assert state(covers) == [(0, (), 1 / 0.9, True), (1, (3,), 0.3 / 0.9, False)]
    assert (covers.unread, covers.likeliest.end, covers.is_settled) == ([covers.last], 0, False)
    learn(covers, {b"b": 0.5, b"c": 0.5})
    assert told(covers) == {b"b": 0.5 / 0.9 + 0.15 / 0.9, b"bc": 0.1 / 0.9, b"c": 0.15 / 0.9}

    covers.advance(b"b", is_partial=True)  # ab 0.5, a + b 0.15, abc 0.1
    assert state(covers) == [(0, (), 1 / 0.75, True), (2, (4,), 0.65 / 0.75, False)]
    assert (covers.last.parent, covers.last.num_ids, covers.last.depth) == (covers.live[0].boundary, 1, 1)
    assert covers.likeliest.end == 2
    learn(covers, {b"d": 1.0})
    assert told(covers) == {b"c": 0.1 / 0.75, b"d": 0.65 / 0.75}

    assert covers.advance(b"c", is_partial=False) is covers.last
    assert state(covers) == [(3, (5,), 1.0, False)]
    assert covers.last.parent is not None
    assert covers.last.parent.end == 0


def test_a_token_that_is_known_to_end_is_the_only_one() -> None:
    covers = covers_of()
    learn(covers, {b"a": 0.1, b"ab": 0.9})
    first = covers.advance(b"a", is_partial=False)
    assert state(covers) == [(1, (3,), 1.0, False)]
    learn(covers, {b"b": 1.0})
    covers.advance(b"bc", is_partial=False)
    assert state(covers) == [(3, (2, 1), 1.0, False)], "a token that it lacks, in two"
    assert (covers.last.parent, covers.last.num_ids, covers.last.depth) == (first, 3, 2)


def test_an_unlikely_end_is_not_read() -> None:
    covers = covers_of()
    learn(covers, {b"a": 0.01, b"ab": 0.98, b"abcd": 0.0005, b"b": 0.0095})
    assert covers.advance(b"a", is_partial=True) is None
    assert state(covers) == [(0, (), pytest.approx(1 / 0.9905), True)]
    assert (covers.is_settled, covers.unread) == (False, [])
    assert told(covers) == {b"b": 0.98 / 0.9805, b"bc": 0.0005 / 0.9805}
    assert covers.distribution().partial_ids == {UNION.ids[b"bc"]: pytest.approx(0.0005 / 0.9805)}

    covers.advance(b"b", is_partial=True)  # abcd is forgotten
    assert state(covers) == [(2, (4,), pytest.approx(0.98 / 0.9805), False)]
    assert covers.is_settled


def test_of_bytes_that_no_token_fits_the_own_spelling_goes_on() -> None:
    covers = covers_of()
    learn(covers, {b"ab": 0.6, b"a": 0.4})
    covers.advance(b"a", is_partial=True)
    learn(covers, {b"b": 1.0})
    covers.advance(b"d", is_partial=True)
    assert state(covers) == [(2, (3, 0), 1.0, False)], "from the likeliest boundary, before a"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ({b"ab": 0.4, b"abc": 0.1, b"a": 0.5}, [(1, (1,), 2.0, True), (3, (4,), 0.8, True)]),
        ({b"ab": 0.4, b"abc": 0.0004, b"a": 0.5}, [(3, (4,), 1.0, True)]),  # it does not go on
        ({b"abc": 0.4, b"a": 0.6}, [(3, (4,), 1.0, True)]),  # it does not end
    ],
)
def test_what_was_missed_leaves_its_last_boundaries(
    before: dict[bytes, float], expected: list[tuple[int, tuple[int, ...], float, bool]]
) -> None:
    covers = covers_of()
    learn(covers, {b"a": 1.0})
    assert covers.leap(b"cab") == b""
    assert state(covers) == [(1, (1,), 1.0, False), (3, (4,), 1.0, False)]
    assert [boundary.num_ids for boundary in covers.unread] == [1, 2]
    copy = covers.fork()
    learn(covers, before, {b"d": 1.0})
    assert state(covers) == expected
    learn(copy, before, {b"d": 1.0})
    assert state(copy) == expected
    assert bytes(copy.text) == b"cab"


def test_one_token_missed_is_weighed_against_what_was_read() -> None:
    covers = covers_of()
    learn(covers, {b"a": 0.25, b"ab": 0.75})
    covers.leap(b"a")
    assert [(cover.boundary.end, cover.distribution is None) for cover in covers.live] == [(0, False), (1, True)]
    learn(covers, {b"c": 1.0})
    assert state(covers) == [(0, (), 1.0, True), (1, (3,), 0.25, True)]
    assert told(covers) == {b"b": 0.75, b"c": 0.25}


def test_a_copy_of_covers_goes_its_own_way() -> None:
    covers = covers_of()
    learn(covers, {b"a": 0.3, b"ab": 0.7})
    copy = covers.fork()
    copy.advance(b"a", is_partial=True)
    learn(copy, {b"b": 1.0})
    assert (bytes(covers.text), state(covers)) == (b"", [(0, (), 1.0, True)])
    covers.advance(b"ab", is_partial=False)
    assert (bytes(copy.text), len(copy.live)) == (b"a", 2)


def test_how_many_ids_an_answer_takes() -> None:
    text = FedText(VocabMapping(vocabulary(OWN), UNION))
    covers = text.covers
    assert covers.spelling(b"") == (covers.last, (), b"")
    assert covers.spelling(b"abcbc") == (covers.last, (5, 2, 1), b"")
    for missed, max_ids, does_fit in (
        (b"", 0, True),
        (b"abcbc", 2, False),
        (b"abcbc", 3, True),
        (b"ab\xc3", 1, False),  # one for the byte that is no character
        (b"ab\xc3", 2, True),
        (b"dd", 2, True),
    ):
        text.missed[:] = missed
        assert text.fits(max_ids) is does_fit, (missed, max_ids)
    learn(covers, {b"a": 1.0})
    covers.advance(b"bc", is_partial=False)
    for missed, least in ((b"", 2), (b"abcd", 3)):
        text.missed[:] = missed
        assert (text.fits(least - 1), text.fits(least)) == (False, True)


@given(pieces=st.lists(st.sampled_from([b"a", b"ab", b"bcd", b"d", b"dabc", b"\xc3\xa9"]), max_size=150))
def test_only_the_new_end_of_what_is_missed_is_spelt(pieces: list[bytes]) -> None:
    vocabulary_of = vocabulary([*OWN, b"\xc3", b"\xa9"])
    mapping = VocabMapping(vocabulary_of, UnionVocabulary(token for token in vocabulary_of.token_bytes if token))
    text = FedText(mapping)
    with patch.object(mapping, "spell", wraps=mapping.spell) as spell:
        for piece in pieces:
            text.miss(piece)
            text.spelling()
        assert all(len(call.args[0]) < 200 for call in spell.call_args_list)
        assert spell.call_count <= 2 * len(pieces)
    boundary, ids, rest = text.spelling()
    while boundary.parent:
        boundary, ids = boundary.parent, boundary.ids + ids
    assert (ids, rest) == (mapping.spell(b"".join(pieces)), b"")


def test_the_ids_of_boundaries_add_up() -> None:
    first = Boundary(None, (1, 2), 3)
    second = Boundary(first, (4,), 5)
    assert [(b.depth, b.num_ids) for b in (first, second)] == [(0, 2), (1, 3)]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (b"", b""),
        (b"a", b"a"),
        (b"a\xc3", b"a"),
        ("aé".encode(), "aé".encode()),
        (b"a\xe6\x97", b"a"),
        (b"a\xe6", b"a"),
        ("日".encode(), "日".encode()),
        (b"\xf0\x9f\x91", b""),
        (b"b\xf0\x9f", b"b"),
        ("👩".encode(), "👩".encode()),
        (b"\xc3\xa9\xa9", b"\xc3\xa9\xa9"),  # invalid anyway
        (b"a\x80", b"a\x80"),
        (b"\xa9\xa9\xa9\xa9", b"\xa9\xa9\xa9\xa9"),
    ],
)
def test_an_incomplete_character_is_left_out(text: bytes, whole: bytes) -> None:
    assert whole_characters(text) == whole
