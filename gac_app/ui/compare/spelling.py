"""Bytes of a token -> a label without invisible characters, for the inspector.

Examples: b" the" -> "␣the", b"\n" -> "⏎", b"\xe2\x82" -> "⟨E2 82⟩", b"" -> "END".
"""

from __future__ import annotations

import unicodedata

END_LABEL = "END"
_MARKS = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\x7f": "␡"}
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp", "Zs", "Cn", "Co"}  # Unicode categories of invisible characters


def label_of(token: bytes) -> str:
    """A visible spelling of a token's bytes; empty bytes stand for END."""
    if not token:
        return END_LABEL
    text = token.decode("utf-8", errors="surrogateescape")
    out: list[str] = []
    broken: list[str] = []
    for char in text:
        if "\udc80" <= char <= "\udcff":  # an invalid byte, escaped by the decoder
            broken.append(f"{ord(char) - 0xDC00:02X}")
            continue
        _flush(broken, out)
        out.append(_mark(char))
    _flush(broken, out)
    return "".join(out)


def _mark(char: str) -> str:
    if char in _MARKS:
        return _MARKS[char]
    if char < " ":
        return chr(0x2400 + ord(char))
    return f"⟨U+{ord(char):04X}⟩" if unicodedata.category(char) in _INVISIBLE else char


def _flush(broken: list[str], out: list[str]) -> None:
    if broken:
        out.append(f"⟨{' '.join(broken)}⟩")
        broken.clear()
