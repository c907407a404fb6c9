"""Covers against brute force over all tokenisations, on vocabularies over two or three letters, and some by hand."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product
from unittest.mock import patch

import pytest
import torch
from hypothesis import event, example, given
from hypothesis import strategies as st

from gac_app.decoding.alignment import covers as covers_module
from gac_app.decoding.alignment.covers import NEGLIGIBLE, WORTH_READING, Covers
from gac_app.decoding.contexts.fed_text import FedText
from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.vocab.mapping import VocabMapping
from gac_app.vocab.tokens import whole_characters
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.toy import END, Expected, Toy, distance, expected, learn
from tests.vocab.vocabularies import vocabulary

ALPHABETS = [(b"a", b"b"), (b"a", b"b", b"c"), (b"a", b"\xc3", b"\xa9")]  # the last two are the bytes of an é
ROUNDING = 1e-5


# Nothing is too unlikely to be kept and read.
exact = patch.multiple(covers_module, NEGLIGIBLE=0.0, WORTH_READING=0.0)


@dataclass
class Told:
    """A toy that is told what to write, piece by piece, and what was told so far."""

    toy: Toy
    mapping: VocabMapping

    @classmethod
    def of(cls, toy: Toy) -> Told:
        return cls(toy, VocabMapping(toy.vocabulary, UnionVocabulary(toy.tokens)))

    def __post_init__(self) -> None:
        self.union = self.mapping.union
        self.covers = Covers(self.mapping)
        self.ends = {0}
        self.closed: set[int] = set()
        learn(self.covers, self.toy, self.mapping)

    def advance(self, piece: bytes, *, is_partial: bool) -> None:
        self.covers.advance(piece, is_partial=is_partial)
        self.ends.add(len(self.covers.text))
        if not is_partial:
            self.closed.add(len(self.covers.text))
        learn(self.covers, self.toy, self.mapping)

    def expected(self) -> Expected:
        return expected(self.toy, self.union, bytes(self.covers.text), self.ends, self.closed)

    def possible(self) -> list[bytes]:
        """Pieces that may come next, END left out."""
        probs_U = self.covers.distribution().probs_U
        return [token for token, prob in zip(self.union.tokens, probs_U.tolist(), strict=False) if prob > 1e-4]


@st.composite
def told_toys(draw: st.DrawFn) -> Told:
    letters = draw(st.sampled_from(ALPHABETS))
    words = st.sets(st.lists(st.sampled_from(letters), min_size=2, max_size=4).map(b"".join), max_size=6)
    own, others = draw(words), draw(words)
    toy = Toy(tuple(sorted({*letters, *own})), draw(st.integers(0, 10_000)), draw(st.booleans()))
    return Told(toy, VocabMapping(toy.vocabulary, UnionVocabulary({*letters, *own, *others})))


def check(told: Told) -> Expected:
    """The distribution is the exact one, up to the tokenisations that have a boundary inside a piece told."""
    distribution, wanted = told.covers.distribution(), told.expected()
    assert float(distribution.probs_U.sum()) == pytest.approx(1)
    if wanted.mass == 0:  # told to end where none of its tokens can: it goes on from there by its own spelling
        assert [cover.boundary.end for cover in told.covers.beam] == [len(told.covers.text)]
        return wanted
    assert distance(distribution.probs_U, wanted.probs, told.union) <= wanted.untracked + ROUNDING
    if wanted.untracked == 0:
        for token_id, token in enumerate(told.union.tokens):
            partial = distribution.partial_ids.get(token_id, 0.0)
            assert partial == pytest.approx(wanted.partial_probs.get(token, 0.0), abs=ROUNDING)
    return wanted


MANY_LONGER = tuple(b"a" + bytes(end) for end in product(b"ab", repeat=3))


@exact
@patch.object(covers_module, "_MAX_PARTIAL", 2)
@given(told=told_toys(), seed=st.integers(0, 99))
@example(Told.of(Toy((b"a", b"b", *MANY_LONGER), 1, sparsity=0.0)), 0)
def test_longer_tokens_beyond_the_limit_keep_their_probability(told: Told, seed: int) -> None:
    """It is spread over those that are kept, so that what does not begin with a longer token is still exact."""
    draw = random.Random(seed)
    for _ in range(4):
        letters = [piece for piece in told.possible() if len(piece) == 1]
        if not letters:
            break
        told.advance(draw.choice(letters), is_partial=True)
        probs_U, wanted = told.covers.distribution().probs_U, told.expected()
        assert float(probs_U.sum()) == pytest.approx(1)
        assert float(probs_U[told.union.end_id]) == pytest.approx(wanted.probs.get(END, 0.0), abs=ROUNDING)


@pytest.mark.slow
@exact
@given(told=told_toys(), data=st.data())
def test_told_in_pieces_it_misses_only_their_inner_boundaries(told: Told, data: st.DataObject) -> None:
    for _ in range(4):
        pieces = told.possible()
        if not pieces:
            break
        told.advance(data.draw(st.sampled_from(pieces)), is_partial=data.draw(st.booleans()))
        wanted = check(told)
        event("exact" if wanted.untracked == 0 else "bounded")
        if wanted.mass == 0:
            break


@pytest.mark.slow
@exact
@given(told=told_toys(), letters=st.lists(st.integers(0, 2), min_size=1, max_size=5), was_told=st.booleans())
def test_a_member_not_asked_goes_by_its_own_spelling(told: Told, letters: list[int], was_told: bool) -> None:
    if was_told and told.possible():
        told.advance(told.possible()[0], is_partial=True)
    alphabet = [token for token in told.toy.tokens if len(token) == 1]
    missed = b"".join(alphabet[number % len(alphabet)] for number in letters)
    text = bytes(told.covers.text) + missed
    rest = told.covers.resync(missed)
    learn(told.covers, told.toy, told.mapping)
    start = told.covers.beam[0].boundary.end  # what stands before the first boundary left is not in doubt
    ends = {cover.boundary.end for cover in told.covers.beam}
    assert bytes(told.covers.text) + rest == text
    if rest:
        told.covers.advance(rest, is_partial=True)
        learn(told.covers, told.toy, told.mapping)
    distribution = told.covers.distribution()
    wanted = expected(told.toy, told.union, text, {*ends, len(text)}, closed=set(), start=start)
    assert float(distribution.probs_U.sum()) == pytest.approx(1)
    if wanted.mass > 0:
        assert distance(distribution.probs_U, wanted.probs, told.union) <= wanted.untracked + ROUNDING


def test_the_last_token_missed_is_weighed_where_that_matters() -> None:
    toy = Toy((b"a", b"ab", b"abb", b"b"), seed=1, sparsity=0.0)
    mapping = VocabMapping(toy.vocabulary, UnionVocabulary(toy.tokens))
    for likely, num_unread in (
        (None, 2),  # it is not known what is likely
        ([b"b"], 2),  # ab + b
        ([b"a", b"b"], 2),
        ([b"bba"], 2),  # abb, which ends within the piece
        ([b"a", b"ab"], 1),  # no token begins with aba
        ([], 1),
    ):
        covers = Covers(mapping)
        learn(covers, toy, mapping)
        assert covers.resync(b"aab", likely) == b""
        learn(covers.fork(), toy, mapping)  # which is independent
        assert len(covers.unread) == num_unread
        assert covers.unread[-1].end == 3
        assert toy.cut(b"aab") == [b"a", b"ab"]


def test_what_is_forgotten_costs_little_on_own_texts() -> None:
    """On text drawn from the member, what was left out so far has, on the mean, the probability it had when it was
    left out: at each step less than a boundary worth reading, and of each cover less than a negligible share."""
    num_letters, distances = 6, []
    for seed in range(40):
        draw = random.Random(seed)
        words = {b"".join(draw.choices([b"a", b"b"], k=draw.randint(2, 4))) for _ in range(5)}
        toy = Toy(tuple(sorted({b"a", b"b", *words})), seed)
        told = Told.of(toy)
        for letter in written(toy, draw, num_letters):
            told.advance(letter, is_partial=True)
        distances.append(distance(told.covers.distribution().probs_U, told.expected().probs, told.union))
    assert sum(distances) / len(distances) <= num_letters * (WORTH_READING + 4 * NEGLIGIBLE)
    assert max(distances) > 0  # something was left out


def written(toy: Toy, draw: random.Random, num_letters: int) -> list[bytes]:
    """What the toy writes, letter by letter."""
    text = b""
    while len(text) < num_letters:
        probs = toy.probs(text)
        del probs[END]
        if not probs:
            break
        [token] = draw.choices(list(probs), list(probs.values()))
        text += token
    return [text[i : i + 1] for i in range(num_letters)]


UNION = UnionVocabulary([b"a", b"ab", b"abc", b"abcd", b"b", b"bc", b"c", b"d"])
OWN_TOKENS: list[bytes | None] = [b"d", b"c", b"b", b"a", b"ab", b"abc", b"abcd"]  # it spells bc by two ids


def learned(covers: Covers, probs: dict[bytes, float]) -> None:
    """Its member expects these tokens at the only unread boundary."""
    probs_U = torch.zeros(len(UNION))
    for token, prob in probs.items():
        probs_U[UNION.ids[token]] = prob
    covers.learn([TokenDistribution(probs_U)])


def test_an_unlikely_end_is_not_read() -> None:
    for end, is_read in ((0.01, False), (0.03, True)):
        covers = Covers(VocabMapping(vocabulary(OWN_TOKENS), UNION))
        learned(covers, {b"a": end, b"ab": 0.9895 - end, b"abcd": 0.0005, b"b": 0.01})
        assert (covers.advance(b"a", is_partial=True) is not None) is is_read
        assert bool(covers.unread) is is_read
        if not is_read:
            found = covers.distribution()
            told = {token: prob for token, prob in zip(UNION.tokens, found.probs_U.tolist(), strict=False) if prob}
            assert told == pytest.approx({b"b": 0.9795 / 0.98, b"bc": 0.0005 / 0.98}), "of what goes on beyond a"
            assert found.partial_ids == pytest.approx({UNION.ids[b"bc"]: 0.0005 / 0.98})


def test_how_many_ids_an_answer_takes() -> None:
    text = FedText(VocabMapping(vocabulary(OWN_TOKENS), UNION))
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
    learned(covers, {b"a": 1.0})
    covers.advance(b"bc", is_partial=False)
    for missed, least in ((b"", 2), (b"abcd", 3)):
        text.pending_bytes[:] = missed
        assert (text.fits(least - 1), text.fits(least)) == (False, True)


@given(pieces=st.lists(st.sampled_from([b"a", b"ab", b"bcd", b"d", b"dabc", b"\xc3\xa9"]), max_size=150))
def test_only_the_new_end_of_what_is_missed_is_spelt(pieces: list[bytes]) -> None:
    vocabulary_of = vocabulary([*OWN_TOKENS, b"\xc3", b"\xa9"])
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
