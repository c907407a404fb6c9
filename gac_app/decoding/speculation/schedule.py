"""Chooses the drafter of an answer, once, from its members and settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial

from gac_app.decoding.contexts import MemberContext
from gac_app.decoding.member import Member
from gac_app.decoding.rules import draws_one
from gac_app.decoding.rules.answer import AnswerRules
from gac_app.decoding.speculation.draft_costs import DraftCosts
from gac_app.decoding.speculation.drafter import Drafter
from gac_app.decoding.speculation.in_turn import InTurnDrafter
from gac_app.decoding.speculation.overlapped import OverlappedDrafter
from gac_app.settings import Settings

NewDrafter = Callable[[list[MemberContext], AnswerRules], Drafter]


class Schedules:
    """Chooses the drafter for each answer of one ensemble. Keeps what was measured."""

    def __init__(self) -> None:
        self._costs: defaultdict[tuple[str, ...], DraftCosts] = defaultdict(DraftCosts)

    def of(
        self, members: Sequence[Member], settings: Settings, *, are_apart: bool, is_reproducible: bool
    ) -> NewDrafter:
        """`auto` drafts only where the text stays the same, and in turn only where drafts cannot overlap.

        Args:
            are_apart: no two members share a GPU or a core.
            is_reproducible: logits must not depend on what else runs or ran.
        """
        if len(members) == 1 or draws_one(settings):  # nobody verifies
            return Drafter
        is_prefix, is_auto = settings.alignment == "prefix", settings.speculation == "auto"
        is_invariant = all(member.model.is_chunk_invariant for member in members)
        is_exact = all(member.model.is_chunk_consistent or member.model.is_chunk_invariant for member in members)
        can_overlap = is_auto and is_prefix and are_apart
        is_overlap_better = can_overlap and is_invariant and not settings.asks_lazily
        are_views = len({id(member.model) for member in members}) == 1  # no draft costs less than what it saves
        is_worth_trying = is_auto and is_exact and not is_overlap_better and not are_views
        is_wanted = settings.speculation == "on" or is_worth_trying
        in_turn = is_wanted and not settings.reads_along and (is_invariant or not is_reproducible)
        if not in_turn and not can_overlap:
            return Drafter
        how = (settings.mode, settings.gate_rule, settings.alignment, settings.combine)
        costs = self._costs[(*how, *(member.name for member in members))]
        return partial(InTurnDrafter if in_turn else OverlappedDrafter, costs=costs)
