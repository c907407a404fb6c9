"""Colours of systems in charts: a member alone has the same colour as on the page, ensembles have others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from gac_app.charts import MEMBERS, OTHERS


def colours_of(names: Sequence[str], members: Sequence[str]) -> dict[str, str]:
    """A colour for each system's name."""
    others = cycle(OTHERS)
    return {name: member_colour(name.removeprefix("alone:"), members) or next(others) for name in names}


def member_colour(name: str, members: Sequence[str]) -> str:
    """A member's colour on the page; "" if there is no such member."""
    return MEMBERS[members.index(name) % len(MEMBERS)] if name in members else ""
