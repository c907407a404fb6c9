"""How alike members cut words, on hand-worked vocabularies; the word sets; the picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from gac_app.cli import app
from gac_app.errors import ConfigError
from gac_app.evaluation.metrics.consistency import (
    ConsistencyReport,
    PrefixCounts,
    _prefixes,
    compare_vocabularies,
    word_sets,
)
from gac_app.vocab.tokens import MemberVocabulary
from tests.command_line import members_file
from tests.vocab.vocabularies import vocabulary


def spelling(*tokens: bytes) -> MemberVocabulary:
    """Single letters and `tokens`; the longest match is taken first. The id 0 ends a text."""
    return vocabulary([b"</s>", *sorted({b"a", b"b", b"c", b" ", *tokens})], end_ids=[0])


VOCABULARIES = {"x": spelling(b"ab", b" ab", b" a"), "y": spelling(b"ab", b" abc", b"bc")}


@pytest.fixture
def report() -> ConsistencyReport:
    return compare_vocabularies(VOCABULARIES, {"few": ("ab", "abc", "c", "a")})


def test_shares_of_words_cut_alike(report: ConsistencyReport) -> None:
    (few,) = report.sets
    (pair,) = few.pairs
    assert pair.members == ("x", "y")
    assert pair.at_start == 1.0  # ab | ab c | c | a
    assert pair.after_space == 0.25  # x: _ab | _ab c | _ c | _a     y: _ ab | _abc | _ c | _ a
    assert few.tokens_per_word == {"x": 1.5, "y": 1.75}


def test_tokens_of_one_member_only(report: ConsistencyReport) -> None:
    x, y = report.tokens["x"], report.tokens["y"]
    assert (x.num_tokens, x.num_only, x.examples) == (7, 2, (b" a", b" ab"))
    assert (y.num_tokens, y.num_only, y.examples) == (7, 2, (b" abc", b"bc"))
    assert x.prefixes == {"y": PrefixCounts(num_tokens=5, num_unknown=2)}  # "_", "_a", "_ab", "a", "b"
    assert y.prefixes == {"x": PrefixCounts(num_tokens=2, num_unknown=0)}  # "_", "a"


_TOKENS = st.sets(st.binary(min_size=1, max_size=4).map(lambda token: bytes(byte % 3 for byte in token)))


@given(_TOKENS, _TOKENS)
def test_prefixes_equal_the_obvious_search(own: set[bytes], other: set[bytes]) -> None:
    found = {token for token in own if any(longer.startswith(token) and longer != token for longer in other)}
    assert _prefixes(own, other, sorted(other)) == PrefixCounts(len(found), len(found - other))


@pytest.mark.slow
def test_word_sets_are_complete() -> None:
    sets = word_sets()
    languages = list(sets)[2:22]
    assert (languages[0], languages[-1]) == ("French", "Chinese")
    assert [len(sets[name]) for name in ("common English", "rare English")] == [5_000, 1_000]
    assert {len(sets[language]) for language in languages} == {1_000}
    assert sets["common English"][:3] == ("the", "to", "and")
    for name in ("code identifiers", "numbers", "chemistry", "medicine"):
        assert len(sets[name]) > 150
    for name, words in sets.items():
        assert len(set(words)) == len(words), f"{name}: a word counts twice"
        assert all(word.strip() == word != "" for word in words)


def test_the_report_is_plain_json() -> None:
    odd = MemberVocabulary((b"\xff", b"<b>"), frozenset(), frozenset(), lambda text: [0] * len(text))
    facts = json.loads(json.dumps(compare_vocabularies({"o": odd, **VOCABULARIES}, {"s": ("a",)}).to_json()))
    assert facts["members"] == ["o", "x", "y"]
    assert facts["tokens"]["o"]["examples"] == ["<b>", "\\xff"]
    assert facts["sets"][0]["pairs"][2] == {"members": ["x", "y"], "at_start": 1.0, "after_space": 0.0}


def test_one_member_has_nobody_to_be_compared_with(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["consistency", "--config", str(members_file(tmp_path, names="a"))])
    assert isinstance(done.exception, ConfigError)
