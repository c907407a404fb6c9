"""The share of a text that is written in its language's script."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

LATIN = frozenset({"LATIN"})
_HAN = frozenset({"CJK", "IDEOGRAPHIC"})

# First words of the Unicode names of a language's letters.
SCRIPTS: dict[str, frozenset[str]] = {
    "french": LATIN,
    "russian": frozenset({"CYRILLIC"}),
    "greek": frozenset({"GREEK"}),
    "arabic": frozenset({"ARABIC"}),
    "hebrew": frozenset({"HEBREW"}),
    "hindi": frozenset({"DEVANAGARI"}),
    "thai": frozenset({"THAI"}),
    "chinese": _HAN,
    "japanese": _HAN | {"HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"},
    "korean": frozenset({"HANGUL"}),
}


def script_share(text: str, script: Collection[str]) -> float | None:
    """Share of the letters of `text` that belong to `script`; None if it has no letters.

    Example:
        >>> script_share("да, yes", SCRIPTS["russian"])
        0.4
    """
    letters = [character for character in text if unicodedata.category(character).startswith("L")]
    if not letters:
        return None
    return sum(_script_word(letter) in script for letter in letters) / len(letters)


def _script_word(letter: str) -> str:
    return unicodedata.name(letter, "").split(" ", 1)[0]
