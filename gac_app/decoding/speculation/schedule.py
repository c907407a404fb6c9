"""Whether an answer's tokens are drafted, by its members and settings."""

from __future__ import annotations

from collections.abc import Sequence

from gac_app.decoding.member import Member
from gac_app.decoding.rules import draws_one
from gac_app.settings import Settings


def drafts_tokens(members: Sequence[Member], settings: Settings, *, devices_disjoint: bool) -> bool:
    """Whether some member may draft what others verify, without a change of the text.

    Args:
        devices_disjoint: no two members share a GPU or a core. Otherwise drafts take others' time; `on` makes them.
    """
    if len(members) == 1 or draws_one(settings) or settings.alignment != "prefix" or settings.asks_lazily:
        return False  # nobody verifies, or nobody is idle
    return settings.speculation == "on" or (settings.speculation == "auto" and devices_disjoint)
