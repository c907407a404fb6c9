"""The language of a prompt, by py3langid."""

from __future__ import annotations

from functools import cache
from typing import Any

UNKNOWN = "und"  # the ISO 639 code for "undetermined"
# Those that the leaderboard can show. Among all 140 of the detector, short English prompts are taken for pidgins of it.
LANGUAGES = (
    "ar bg bn ca cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv ms nl no pl pt ro ru sk sl sr sv sw ta th "
    "tr uk ur vi zh"
)
_MIN_LETTERS = 6
_MIN_PROB = 0.44  # among `LANGUAGES`
_MAX_CHARS = 2_000  # of a prompt that are examined


def language_of(text: str) -> str:
    """One of `LANGUAGES`, by its ISO 639 code; `UNKNOWN` if the text tells too little."""
    text = text[:_MAX_CHARS]
    if sum(map(str.isalpha, text)) < _MIN_LETTERS and text.isascii():
        return UNKNOWN
    code, prob = _identifier().classify(text)
    return str(code) if prob >= _MIN_PROB else UNKNOWN


@cache
def _identifier() -> Any:
    """The identifier; the first call takes half a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES.split())
    return identifier
