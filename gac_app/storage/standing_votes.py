"""Votes that were not taken back, as rows of numbers. `battle_changes` keeps them beside the judgements."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gac_app.storage.battle_records import VoteNews, VoteRow
from gac_app.storage.queries import is_visitor
from gac_app.storage.tables import Battle, StandingVote, VisitorSession

_COUNTS = ("chars", "headings", "lists", "bold")
_COSTS = ("ms_per_token", "passes_per_token")
_COLUMNS = [getattr(StandingVote, name) for name in VoteRow._fields]


def row_of(battle: Battle, outcome: str, facts: Mapping[str, Any], voted_at: datetime) -> dict[str, Any]:
    """The columns of a vote on a battle, without its number."""
    row = {
        "battle_id": battle.id,
        "visitor_id": battle.visitor_id,
        "left": battle.left,
        "right": battle.right,
        "outcome": outcome,
        "origin": battle.origin,
        "language": battle.language,
        "config_hash": battle.config_hash,
        "client": battle.client or "",
        "voted_s": voted_at.timestamp(),
        "turn": facts.get("turn", 1),
        "is_flagged": bool(facts.get("flags")),
    }
    for side in ("left", "right"):
        told = facts.get(side, {})
        row |= {f"{side}_{name}": told.get(name, 0) for name in _COUNTS}
        row |= {f"{side}_{name}": told.get(name) for name in _COSTS}
    return row


def stand(session: Session, battle: Battle, outcome: str, facts: Mapping[str, Any], voted_at: datetime) -> None:
    """Write that a vote stands."""
    session.add(StandingVote(**row_of(battle, outcome, facts, voted_at)))


def fall(session: Session, battle_id: str) -> None:
    """Write that no vote on a battle stands."""
    session.execute(delete(StandingVote).where(StandingVote.battle_id == battle_id))


def votes(session: Session, visitor_key: str = "") -> list[VoteRow]:
    """All votes that stand, of one visitor or of everybody, in the order of their numbers."""
    query = select(*_COLUMNS).order_by(StandingVote.number)
    if visitor_key:
        query = query.join(VisitorSession, VisitorSession.id == StandingVote.visitor_id).where(is_visitor(visitor_key))
    return list(map(VoteRow._make, session.execute(query)))


def version(session: Session) -> tuple[int, int]:
    """A value that changes with every vote added, changed or removed."""
    num, newest = session.execute(select(func.count(), func.max(StandingVote.number))).one()
    return num, newest or 0


def news(session: Session, newest: int, num_known: int) -> VoteNews:
    """What came and went since a reader knew `num_known` votes, the last one with the number `newest`."""
    query = select(*_COLUMNS).where(StandingVote.number > newest).order_by(StandingVote.number)
    added = list(map(VoteRow._make, session.execute(query)))
    is_any_gone = version(session)[0] < num_known + len(added)
    return VoteNews(added, frozenset(session.scalars(select(StandingVote.number))) if is_any_gone else None)


def numbers_of(session: Session, battle_ids: Collection[str]) -> frozenset[int]:
    """The numbers of the votes that stand on battles."""
    return frozenset(session.scalars(select(StandingVote.number).where(StandingVote.battle_id.in_(battle_ids))))
