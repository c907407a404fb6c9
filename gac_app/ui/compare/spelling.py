"""Bytes of a token -> a label without invisible characters, for the inspector.

Examples: b" the" -> "␣the", b"\n" -> "⏎", b"\xe2\x82" -> "⟨E2 82⟩", b"" -> "END".
"""

from __future__ import annotations

import re
import unicodedata

END_LABEL = "END"
_MARKS = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\x7f": "␡"}
# Invalid bytes, as `surrogateescape` decodes them, or one character.
_CHARS = re.compile("(?P<broken>[\udc80-\udcff]+)|.", re.DOTALL)
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs", "Cn", "Co"}  # Unicode categories of invisible characters


def label_of(token: bytes) -> str:
    """A visible spelling of a token's bytes; empty bytes stand for END."""
    return _CHARS.sub(_mark, token.decode("utf-8", "surrogateescape")) if token else END_LABEL


def _mark(found: re.Match[str]) -> str:
    char = found[0]
    if found["broken"]:
        return f"⟨{char.encode('utf-8', 'surrogateescape').hex(' ').upper()}⟩"
    if char in _MARKS:
        return _MARKS[char]
    if char < " ":
        return chr(0x2400 + ord(char))
    return f"⟨U+{ord(char):04X}⟩" if unicodedata.category(char) in _INVISIBLE else char
