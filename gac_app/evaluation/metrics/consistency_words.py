"""Words for comparing tokenisers: the paper's common English words, and a stress test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

NUM_COMMON = 5_000  # paper, figure 2
RARE_RANK = 50_000  # rare English words are the thousand after this rank
NUM_STRESS = 1_000  # words of each language

LANGUAGES = {
    "French": "fr",
    "German": "de",
    "Spanish": "es",
    "Portuguese": "pt",
    "Italian": "it",
    "Dutch": "nl",
    "Swedish": "sv",
    "Polish": "pl",
    "Finnish": "fi",
    "Hungarian": "hu",
    "Turkish": "tr",
    "Indonesian": "id",
    "Vietnamese": "vi",
    "Russian": "ru",
    "Greek": "el",
    "Arabic": "ar",
    "Hebrew": "he",
    "Hindi": "hi",
    "Korean": "ko",
    "Chinese": "zh",
}
_OWN = Path(__file__).with_name("consistency_words.yaml")


@dataclass(frozen=True, slots=True)
class WordSet:
    """Words of one kind."""

    name: str
    words: tuple[str, ...]


@cache
def word_sets() -> tuple[WordSet, ...]:
    """The common English words first, then rare words, twenty languages, code, numbers, chemistry and medicine."""
    english = _most_frequent("en", RARE_RANK + NUM_STRESS)
    sets = [
        WordSet("common English", english[:NUM_COMMON]),
        WordSet("rare English", english[RARE_RANK:]),
        *(WordSet(language, _most_frequent(code, NUM_STRESS)) for language, code in LANGUAGES.items()),
    ]
    own: dict[str, str] = yaml.safe_load(_OWN.read_text(encoding="utf-8"))
    return (*sets, *(WordSet(name, tuple(dict.fromkeys(text.split()))) for name, text in own.items()))


def _most_frequent(language: str, count: int) -> tuple[str, ...]:
    """The language's `count` most frequent words, most frequent first. Entries without letters do not count."""
    from wordfreq import top_n_list

    spare = count // 5 + 100  # the list has numbers and signs too
    words = [word for word in top_n_list(language, count + spare) if any(map(str.isalpha, word))]
    return tuple(words[:count])
