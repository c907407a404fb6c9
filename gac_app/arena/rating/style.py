"""Features of an answer's style that may sway a vote: LMArena's four, for style control."""

from __future__ import annotations

import re

FEATURES = ("chars", "headings", "lists", "bold")

_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
_LIST = re.compile(r"^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")


def style_of(text: str) -> dict[str, int]:
    """`FEATURES` of a text. Marks inside fenced code do not count."""
    prose = _CODE.sub("", text)
    counts = (len(text), *(len(pattern.findall(prose)) for pattern in (_HEADING, _LIST, _BOLD)))
    return dict(zip(FEATURES, counts, strict=True))
