"""Votes that count, as rows of numbers. `changes` keeps them beside the judgements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from gac_app.storage.battles.records import Kind, StoredBattle, VoteNews, VoteRow, vote_in
from gac_app.storage.battles.tables import Battle, StandingVote
from gac_app.storage.database.tables import VisitorSession
from gac_app.storage.database.visitors import is_visitor

DROPPED = "dropped"  # the operator's verdict that a vote counts nowhere; another one is that it counts
_SIDES = ("left", "right")
_DEFAULTS = {"chars": 0, "headings": 0, "lists": 0, "bold": 0, "ms_per_token": None, "passes_per_token": None}
_FACTS = {side: [f"{side}_{name}" for name in _DEFAULTS] for side in _SIDES}
_COLUMNS = list(StandingVote.__table__.c)


def row_of(battle: Battle | StoredBattle, judgements: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What a battle's judgements, with the operator's last verdict, say of the vote; None = there is none that counts.
    Whose vote on which battle it is, and from which address, is not among these columns.
    """
    vote = vote_in(judgements)
    verdict = next((one["outcome"] for one in reversed(judgements) if one["kind"] == Kind.VERDICT), "")
    if vote is None or verdict == DROPPED:
        return None
    facts = vote["facts"]
    sides = [
        zip(_FACTS[side], map(facts.get(side, {}).get, _DEFAULTS, _DEFAULTS.values()), strict=True) for side in _SIDES
    ]
    return {
        **{name: getattr(battle, name) for name in ("left", "right", "origin", "language", "config_hash")},
        "outcome": vote["outcome"],
        "voted_s": datetime.fromisoformat(vote["created_at"]).timestamp(),
        "turn": facts.get("turn", 1),
        "is_flagged": not verdict and bool(facts.get("flags")),
        **dict(chain(*sides)),
    }


def refresh(session: Session, battle: Battle, judgements: Sequence[Mapping[str, Any]]) -> None:
    """Write which vote on a battle stands after its judgements have changed."""
    session.execute(delete(StandingVote).where(StandingVote.battle_id == battle.id))
    if row := row_of(battle, judgements):
        session.add(StandingVote(**row, battle_id=battle.id, visitor_id=battle.visitor_id, client=battle.client or ""))


def votes(session: Session, visitor_key: str = "") -> list[VoteRow]:
    """All votes that stand, of one visitor or of everybody, in the order of their numbers."""
    query = select(*_COLUMNS).order_by(StandingVote.number)
    if visitor_key:
        query = query.join(VisitorSession, VisitorSession.id == StandingVote.visitor_id).where(is_visitor(visitor_key))
    return _rows(session, query)


def version(session: Session) -> tuple[int, int]:
    """A value that changes with every vote added, changed or removed: their number, and the newest one's."""
    num, newest = session.execute(select(func.count(), func.max(StandingVote.number))).one()
    return num, newest or 0


def news(session: Session, newest: int, num_known: int) -> VoteNews:
    """What came and went since a reader knew `num_known` votes, the last one with the number `newest`."""
    query = select(*_COLUMNS).where(StandingVote.number > newest).order_by(StandingVote.number)
    added = _rows(session, query)
    is_any_gone = version(session)[0] < num_known + len(added)
    return VoteNews(added, frozenset(session.scalars(select(StandingVote.number))) if is_any_gone else None)


def _rows(session: Session, query: Select[Any]) -> list[VoteRow]:
    # Past the mapper, which would take twice as long.
    return list(session.connection().execute(query).all())
