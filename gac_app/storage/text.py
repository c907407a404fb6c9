"""Replaces characters that databases do not accept, at the edge."""

from __future__ import annotations

import re
from typing import Any

from gac_app.validation import normalised

# NUL ends a string in Postgres; a lone surrogate has no UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def clean_text(text: str) -> str:
    """`text` with U+FFFD for every NUL and lone surrogate."""
    return _UNSTORABLE.sub("\ufffd", text)


def folded(text: str) -> str:
    """`text` as a search compares it: whatever its case is, and whether an accent is a character of its own."""
    return normalised("NFC", clean_text(text).casefold())


def clean_json(value: Any) -> Any:
    """A JSON-able value with every string cleaned, including keys. Tuples become lists."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(item) for item in value]
    return value
