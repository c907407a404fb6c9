"""Votes that were not taken back, as rows of numbers. `changes` keeps them beside the judgements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from gac_app.storage.battles.queries import VERDICT
from gac_app.storage.battles.records import StoredBattle, VoteNews, VoteRow, standing_vote
from gac_app.storage.battles.tables import Battle, StandingVote
from gac_app.storage.database.tables import VisitorSession
from gac_app.storage.database.visitors import is_visitor

DROPPED = "dropped"  # the operator's verdict that a vote counts nowhere; another one is that it counts
_SIDES = ("left", "right")
_DEFAULTS = {"chars": 0, "headings": 0, "lists": 0, "bold": 0, "ms_per_token": None, "passes_per_token": None}
_FACTS = {side: [f"{side}_{name}" for name in _DEFAULTS] for side in _SIDES}
_COLUMNS = list(StandingVote.__table__.c)


def row_of(
    battle: Battle | StoredBattle, visitor_id: int, outcome: str, facts: Mapping[str, Any], voted_at: datetime
) -> dict[str, Any]:
    """The columns of a vote on a battle, without its number. That of another database has no address."""
    sides = [
        zip(_FACTS[side], map(facts.get(side, {}).get, _DEFAULTS, _DEFAULTS.values()), strict=True) for side in _SIDES
    ]
    return {
        "battle_id": battle.id if isinstance(battle, Battle) else battle.battle_id,
        "visitor_id": visitor_id,
        **{name: getattr(battle, name) for name in ("left", "right", "origin", "language", "config_hash")},
        "outcome": outcome,
        "client": battle.client or "" if isinstance(battle, Battle) else "",
        "voted_s": voted_at.timestamp(),
        "turn": facts.get("turn", 1),
        "is_flagged": bool(facts.get("flags")),
        **dict(chain(*sides)),
    }


def stand(session: Session, battle: Battle, outcome: str, facts: Mapping[str, Any], voted_at: datetime) -> None:
    """Write that a vote stands."""
    session.add(StandingVote(**row_of(battle, battle.visitor_id, outcome, facts, voted_at)))


def standing(judgements: Sequence[Mapping[str, Any]]) -> tuple[str, Mapping[str, Any], datetime] | None:
    """Outcome, facts and time of the vote that stands, as the judgements and the operator's last verdict have it."""
    last = standing_vote(judgements)
    verdict = next((one["outcome"] for one in reversed(judgements) if one["kind"] == VERDICT), "")
    if last is None or verdict == DROPPED:
        return None
    facts = {**last["facts"], "flags": []} if verdict else last["facts"]
    return last["outcome"], facts, datetime.fromisoformat(last["created_at"])


def stand_again(session: Session, battle: Battle, judgements: Sequence[Mapping[str, Any]]) -> None:
    """Write which vote of a battle stands after its judgements have changed."""
    fall(session, battle.id)
    if vote := standing(judgements):
        stand(session, battle, *vote)


def fall(session: Session, battle_id: str) -> None:
    """Write that no vote on a battle stands."""
    session.execute(delete(StandingVote).where(StandingVote.battle_id == battle_id))


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


def numbers_of(session: Session, battle_ids: Collection[str]) -> frozenset[int]:
    """The numbers of the votes that stand on battles."""
    return frozenset(session.scalars(select(StandingVote.number).where(StandingVote.battle_id.in_(battle_ids))))


def _rows(session: Session, query: Select[Any]) -> list[VoteRow]:
    # Past the mapper, which would take twice as long.
    return list(session.connection().execute(query).all())
