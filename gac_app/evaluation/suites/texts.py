"""The alignment suite's texts: beginnings to continue, held-out passages to predict, and their languages' scripts.

Every text belongs to a kind: a language, `emoji`, or a format of code. The files in `data/` hold the words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

DATA_DIR = Path(__file__).parent / "data"

CODE_KINDS = ("python", "json", "yaml", "markdown")
LANGUAGES = (
    "french",
    "russian",
    "greek",
    "arabic",
    "hebrew",
    "hindi",
    "thai",
    "chinese",
    "japanese",
    "korean",
)
KINDS = (*CODE_KINDS, *LANGUAGES, "emoji")


@dataclass(frozen=True, slots=True)
class Passage:
    """A held-out text: a model reads `prompt` and predicts `continuation`."""

    prompt: str
    continuation: str


@cache
def prompts() -> dict[str, tuple[str, ...]]:
    """Beginnings of documents, by kind, to continue without a chat template."""
    return _read("code.yaml") | _read("prompts.yaml")


@cache
def held_out() -> dict[str, tuple[Passage, ...]]:
    """Passages that no model was trained on, by kind."""
    return {kind: tuple(_passage(text) for text in texts) for kind, texts in _read("held_out.yaml").items()}


def _read(name: str) -> dict[str, tuple[str, ...]]:
    data = yaml.safe_load((DATA_DIR / name).read_text(encoding="utf-8"))
    return {kind: tuple(texts) for kind, texts in data.items()}


def _passage(text: str) -> Passage:
    """Example: "one two¦ three" -> ("one two", " three"). Without a mark, the first line is the prompt."""
    prompt, mark, continuation = text.partition("¦")
    if not mark:
        prompt, line_end, continuation = text.partition("\n")
        prompt += line_end
    return Passage(prompt, continuation)


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
