"""When an answer's tokens are drafted, by its members and settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from gac_app.decoding.member import Member
from gac_app.decoding.rules import draws_one
from gac_app.settings import Settings

When = Literal["never", "overlapped", "in turn"]  # see `speculator`


def when_to_draft(
    members: Sequence[Member], settings: Settings, *, devices_disjoint: bool, is_reproducible: bool
) -> When:
    """`auto` drafts only where the text stays the same, and in turn only where drafts cannot overlap.

    Args:
        devices_disjoint: no two members share a GPU or a core.
        is_reproducible: logits must not depend on what else runs or ran.
    """
    if len(members) == 1 or draws_one(settings):  # nobody verifies
        return "never"
    models, is_auto = [member.model for member in members], settings.speculation == "auto"
    is_invariant = all(model.is_chunk_invariant for model in models)
    is_exact = all(model.is_chunk_consistent or model.is_chunk_invariant for model in models)
    can_overlap = is_auto and settings.alignment == "prefix" and devices_disjoint and not settings.asks_lazily
    are_views = len(set(map(id, models))) == 1  # no draft costs less than what it saves
    is_worth_trying = is_auto and is_exact and not are_views and not (can_overlap and is_invariant)
    is_wanted = settings.speculation == "on" or is_worth_trying
    if is_wanted and not settings.reads_along and (is_invariant or not is_reproducible):
        return "in turn"
    return "overlapped" if can_overlap else "never"
