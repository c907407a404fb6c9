"""SVG documents: what all plots have in common. Text in them is text, never markup."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def document(width: float, height: float, title: str, description: str, body: Sequence[str]) -> str:
    """A picture on white.

    Args:
        title, description: what is to be seen, for those who do not see it.
        body: its elements.
    """
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="sans-serif" role="img">\n'
        f"<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>\n"
        '<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def text(x: float, y: float, content: str, *, anchor: str = "start", size: int = 12, ink: str = "#000") -> str:
    """A line of text; `anchor`: which of its ends, or its middle, is at `x`."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}" fill="{ink}">{escape(content)}</text>'
