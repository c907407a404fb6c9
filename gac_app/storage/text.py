"""Replaces characters that databases do not accept, at the edge."""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import cache
from typing import Any

# NUL ends a string in Postgres; a lone surrogate has no UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_MAYBE_FLOOD = re.compile("[^\0-\u02ff]{31}")  # of accents, or a word of another script


def clean_text(text: str) -> str:
    """`text` with U+FFFD for every NUL and lone surrogate."""
    return _UNSTORABLE.sub("\ufffd", text)


def folded(text: str) -> str:
    """`text` as a search compares it: whatever its case is, and whether an accent is a character of its own."""
    text = clean_text(text).casefold()
    if _MAYBE_FLOOD.search(text):
        text = _floods().sub(r"\1", text)
    return unicodedata.normalize("NFC", text)


@cache
def _floods() -> re.Pattern[str]:
    """Accents on one character beyond 30. To normalise them takes the square of their number, under Python's lock."""
    accents = "".join(char for char in map(chr, range(sys.maxunicode)) if unicodedata.combining(char))
    return re.compile(f"([{accents}]{{30}})[{accents}]+")


def clean_json(value: Any) -> Any:
    """A JSON-able value with every string cleaned, including keys. Tuples become lists."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(item) for item in value]
    return value
