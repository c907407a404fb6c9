r"""Stop strings <-> lines of a text box: one per line, with a line break written as \n and a backslash as \\."""

from __future__ import annotations

import re

_WRITTEN = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_MEANT = {"\\": "\\", "n": "\n", "r": "\r"}


def to_lines(stop: tuple[str, ...]) -> str:
    """Example: ("END", "\n\n") -> "END", "\\n\\n" on two lines."""
    return "\n".join("".join(_WRITTEN.get(char, char) for char in text) for text in stop)


def from_lines(lines: str) -> tuple[str, ...]:
    """The stop strings; empty lines do not count. A backslash before anything else stands for itself."""
    return tuple(re.sub(r"\\([\\nr])", lambda found: _MEANT[found[1]], line) for line in lines.split("\n") if line)
