"""Compares members' tokenisation of the same words, and finds tokens that only one member has.

A union of vocabularies loses little because most words are cut alike (paper, section 3.1 and figure 2). Where they are
not, members give the same text's probability to different tokens. The words are the paper's common English ones, and a
stress test.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from gac_app.vocab.tokens import MemberVocabulary

NUM_COMMON = 5_000  # paper, figure 2
RARE_RANK = 50_000  # rare English words are the thousand after this rank
NUM_STRESS = 1_000  # words of each language

_OWN = Path(__file__).with_name("consistency_words.yaml")
NUM_EXAMPLES = 12  # of the tokens that only one member has


@cache
def word_sets() -> dict[str, tuple[str, ...]]:
    """By kind: common English words first, then rare ones, twenty languages, code, numbers, chemistry, medicine."""
    english = _most_frequent("en", RARE_RANK + NUM_STRESS)
    own: dict[str, Any] = yaml.safe_load(_OWN.read_text(encoding="utf-8"))
    languages: dict[str, str] = own.pop("languages")
    return {
        "common English": english[:NUM_COMMON],
        "rare English": english[RARE_RANK:],
        **{language: _most_frequent(code, NUM_STRESS) for language, code in languages.items()},
        **{name: tuple(dict.fromkeys(text.split())) for name, text in own.items()},
    }


def _most_frequent(language: str, count: int) -> tuple[str, ...]:
    """The language's `count` most frequent words, most frequent first. Entries without letters do not count."""
    from wordfreq import top_n_list

    spare = count // 5 + 100  # the list has numbers and signs too
    words = [word for word in top_n_list(language, count + spare) if any(map(str.isalpha, word))]
    return tuple(words[:count])


@dataclass(frozen=True, slots=True)
class PairShare:
    """Of a set's words, the shares (0 to 1) that two members cut into the same byte pieces.

    Attributes:
        at_start: the word alone, as at the start of a text.
        after_space: the word after a space, as inside a sentence.
    """

    members: tuple[str, str]
    at_start: float
    after_space: float


@dataclass(frozen=True, slots=True)
class SetConsistency:
    """One set of words. `tokens_per_word` is each member's mean, with a space before the word."""

    name: str
    num_words: int
    tokens_per_word: dict[str, float]
    pairs: tuple[PairShare, ...]


@dataclass(frozen=True, slots=True)
class PrefixCounts:
    """Distinct tokens of a member that are a proper prefix of some token of another.

    Attributes:
        num_tokens: all of them.
        num_unknown: those that the other member lacks. It may write the same text in larger steps.
    """

    num_tokens: int
    num_unknown: int


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """A member's distinct tokens, without control tokens.

    Attributes:
        num_tokens: all of them.
        num_only: tokens that no other member has.
        examples: some of these, evenly spaced in sorted order.
        prefixes: other member -> counts of this member's tokens that begin one of its tokens.
    """

    num_tokens: int
    num_only: int
    examples: tuple[bytes, ...]
    prefixes: dict[str, PrefixCounts]


@dataclass(frozen=True, slots=True)
class ConsistencyReport:
    """The sets, in the given order, and each member's tokens."""

    sets: tuple[SetConsistency, ...]
    tokens: dict[str, TokenFacts]

    def to_json(self) -> dict[str, Any]:
        """Plain values. Invalid UTF-8 in tokens is written with backslashes."""
        facts = asdict(self)
        for token in facts["tokens"].values():
            token["examples"] = [example.decode(errors="backslashreplace") for example in token["examples"]]
        return {"members": list(self.tokens), **facts}


def compare_vocabularies(
    vocabularies: Mapping[str, MemberVocabulary], sets: Mapping[str, Sequence[str]]
) -> ConsistencyReport:
    """Compare every pair of members, at least two, on every set.

    Args:
        vocabularies: by member name.
        sets: words by kind, none of them empty.
    """
    return ConsistencyReport(
        sets=tuple(_compare(vocabularies, name, words) for name, words in sets.items()),
        tokens=_token_facts({name: vocabulary.texts() for name, vocabulary in vocabularies.items()}),
    )


def pieces(vocabulary: MemberVocabulary, text: str) -> tuple[bytes, ...]:
    """The byte strings into which the member's tokeniser cuts `text`."""
    return tuple(vocabulary.token_bytes[token] or b"" for token in vocabulary.encode(text))


def _compare(vocabularies: Mapping[str, MemberVocabulary], kind: str, words: Sequence[str]) -> SetConsistency:
    at_start = {name: [pieces(own, word) for word in words] for name, own in vocabularies.items()}
    after_space = {name: [pieces(own, f" {word}") for word in words] for name, own in vocabularies.items()}
    return SetConsistency(
        name=kind,
        num_words=len(words),
        tokens_per_word={name: sum(map(len, cut)) / len(words) for name, cut in after_space.items()},
        pairs=tuple(
            PairShare(pair, _share_equal(at_start, pair), _share_equal(after_space, pair))
            for pair in combinations(vocabularies, 2)
        ),
    )


def _share_equal(cut: Mapping[str, list[tuple[bytes, ...]]], pair: tuple[str, str]) -> float:
    first, second = (cut[name] for name in pair)
    return sum(a == b for a, b in zip(first, second, strict=True)) / len(first)


def _token_facts(texts: Mapping[str, set[bytes]]) -> dict[str, TokenFacts]:
    ordered = {name: sorted(own) for name, own in texts.items()}
    facts = {}
    for name, own in texts.items():
        others = [other for other in texts if other != name]
        only = sorted(own.difference(*(texts[other] for other in others)))
        facts[name] = TokenFacts(
            num_tokens=len(own),
            num_only=len(only),
            examples=tuple(only[:: max(1, len(only) // NUM_EXAMPLES)][:NUM_EXAMPLES]),
            prefixes={other: _prefixes(own, texts[other], ordered[other]) for other in others},
        )
    return facts


def _prefixes(own: set[bytes], other: set[bytes], other_sorted: list[bytes]) -> PrefixCounts:
    """In sorted order, the longer tokens that begin with a token directly follow it."""
    found = []
    for token in own:
        place = bisect_right(other_sorted, token)
        if place < len(other_sorted) and other_sorted[place].startswith(token):
            found.append(token)
    return PrefixCounts(num_tokens=len(found), num_unknown=len(set(found) - other))
