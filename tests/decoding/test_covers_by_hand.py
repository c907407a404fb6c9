"""Weights, boundaries and distributions of covers, worked by hand."""

from __future__ import annotations

from unittest.mock import patch

import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.alignment import Covers
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
        text.pending_bytes[:] = missed
        assert text.fits(max_ids) is does_fit, (missed, max_ids)
    learn(covers, {b"a": 1.0})
    covers.advance(b"bc", is_partial=False)
    for missed, least in ((b"", 2), (b"abcd", 3)):
        text.pending_bytes[:] = missed
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
    assert (boundary.path + ids, rest) == (mapping.spell(b"".join(pieces)), b"")


def test_an_incomplete_character_is_left_out() -> None:
    text = "aé日b👩".encode()
    for part in (text[:end] for end in range(len(text) + 1)):
        assert whole_characters(part) == part.decode("utf-8", "ignore").encode()
    for invalid in (b"\xc3\xa9\xa9", b"a\x80", b"\xa9\xa9\xa9\xa9"):
        assert whole_characters(invalid) == invalid
