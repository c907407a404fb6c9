"""Makes cells safe for spreadsheets."""

from __future__ import annotations


def harmless(cell: str) -> str:
    """A cell with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
