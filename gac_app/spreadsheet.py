"""Cells that a spreadsheet takes as text."""

from __future__ import annotations


def harmless(cell: str) -> str:
    """What a spreadsheet would compute gets an apostrophe."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
