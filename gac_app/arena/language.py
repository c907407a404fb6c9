"""The language of a prompt, by py3langid."""

from __future__ import annotations

from functools import cache
from typing import Any

UNKNOWN = "und"  # the ISO 639 code for "undetermined"
_MIN_LETTERS = 8
_MIN_PROB = 0.35  # among some hundred languages
_MAX_CHARS = 2_000  # of a prompt that are examined


def language_of(text: str) -> str:
    """An ISO 639 code of two or three letters; `UNKNOWN` if the text tells too little."""
    text = text[:_MAX_CHARS]
    if sum(map(str.isalpha, text)) < _MIN_LETTERS and text.isascii():
        return UNKNOWN
    code, prob = _identifier().classify(text)
    return str(code) if prob >= _MIN_PROB else UNKNOWN


@cache
def _identifier() -> Any:
    """The identifier; the first call takes half a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
