"""Writes battles, which are encrypted like runs with their own keys, and their judgements, which are append-only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, selectinload

from gac_app.errors import NotFoundError, RequestError
from gac_app.storage.battles import standing_votes
from gac_app.storage.battles.queries import UNDO, VERDICT, VOTE, get_owned, has_vote, key_of, owned, whole
from gac_app.storage.battles.records import JudgedBattle, NewBattle, NewJudgement
from gac_app.storage.battles.tables import Battle, Judgement
from gac_app.storage.database.database import DeletedIds
from gac_app.storage.database.encryption import Key, destroy_keys, encrypt_json, new_key
from gac_app.storage.database.visitors import own_visitor
from gac_app.storage.runs.tables import Run
from gac_app.storage.text import clean_text

LET_GO = "let-go"  # status of a battle that its server dropped before a vote
_NEVER_JUDGED = ("void", "skipped")


def start(session: Session, new: NewBattle, server_id: str | None = None) -> None:
    """Write a battle. `server_id`: the server that can judge it; None = it is over."""
    visitor = own_visitor(session, new.visitor_key)
    run = session.get(Run, new.run_id) if new.run_id else None
    if new.run_id and (run is None or run.conversation.visitor_id != visitor.id):
        raise NotFoundError("there is no such run")
    key = Key(run.key.id, run.key.key) if run else new_key(session)
    session.add(
        Battle(
            id=new.battle_id,
            visitor=visitor,
            run_id=new.run_id,
            key_id=key.id,
            server_id=server_id,
            origin=new.origin,
            is_blind=new.is_blind,
            left=clean_text(new.left),
            right=clean_text(new.right),
            language=new.language,
            config_hash=new.config_hash,
            client=new.client,
            has_consent=bool(new.body.get("consent")),
            status=new.status,
            body=encrypt_json(key.key, new.body),
        )
    )


def add_judged(session: Session, new: NewBattle, vote: NewJudgement) -> bool:
    """Write a finished battle with its vote. Returns False if it exists already."""
    if session.get(Battle, new.battle_id) is not None:
        return False
    start(session, new)
    session.flush()
    judge(session, new.visitor_key, new.battle_id, vote)
    return True


def update(session: Session, battle_id: str, status: str, body: Mapping[str, Any]) -> None:
    """Write a battle's state so far. Raises NotFoundError if it was deleted meanwhile."""
    battle = _get(session, battle_id)
    battle.status, battle.body = status, encrypt_json(key_of(battle), body)
    if status in _NEVER_JUDGED:
        battle.server_id = None


def let_go(session: Session, battle_id: str) -> None:
    """Write that the server no longer holds a battle, so that it cannot be judged. Raises NotFoundError."""
    battle = _get(session, battle_id)
    battle.server_id = None
    if not has_vote(battle):
        battle.status = LET_GO


def judge(session: Session, visitor_key: str, battle_id: str, new: NewJudgement) -> None:
    """Append a row. Raises RequestError for a second vote, an undo without a vote, and a row out of order."""
    battle = get_owned(session, visitor_key, battle_id)
    stands = has_vote(battle)
    if new.position != _num_own(battle) or (new.kind == VOTE and stands) or (new.kind == UNDO and not stands):
        raise RequestError("vote", "this battle has been judged already")
    judgement = Judgement(
        battle_id=battle.id,
        position=len(battle.judgements),
        kind=new.kind,
        outcome=new.outcome,
        facts=json.dumps(new.facts, separators=(",", ":")).encode(),
        body=None if new.body is None else encrypt_json(key_of(battle), new.body),
    )
    session.add(judgement)
    if new.kind == UNDO:
        standing_votes.fall(session, battle.id)
    elif new.kind == VOTE:
        session.flush()  # gives the time
        standing_votes.stand(session, battle, new.outcome, new.facts, judgement.created_at)


def give_verdict(session: Session, battle_ids: Sequence[str], verdict: str) -> None:
    """Append the operator's verdict to battles; those that are gone are left out."""
    for battle in session.scalars(
        select(Battle).where(Battle.id.in_(battle_ids)).options(selectinload(Battle.judgements))
    ):
        position = len(battle.judgements)
        given = Judgement(battle_id=battle.id, position=position, kind=VERDICT, outcome=verdict, facts=b"{}")
        session.add(given)
        session.flush()  # gives the time
        standing_votes.stand_again(session, battle, [_open_part(row) for row in (*battle.judgements, given)])


def _num_own(battle: Battle) -> int:
    """The number of the visitor's own rows."""
    return sum(row.kind != VERDICT for row in battle.judgements)


def remove(session: Session, visitor_key: str, battle_id: str) -> DeletedIds:
    battle = get_owned(session, visitor_key, battle_id)
    if battle.run_id is None:  # otherwise the key belongs to the run
        destroy_keys(session, select(Battle.key_id).where(Battle.id == battle.id))
    session.execute(delete(Battle).where(Battle.id == battle.id))
    return DeletedIds((), (battle.id,))


def remove_all(session: Session, battle_ids: Sequence[str]) -> None:
    """Delete battles that have the keys of runs."""
    session.execute(delete(Battle).where(Battle.id.in_(battle_ids)))


def imply(session: Session, visitor_key: str, run_id: str, pairs: Sequence[JudgedBattle]) -> None:
    """Write the battles that a vote on a run implies, in place of those of an earlier vote.

    Args:
        pairs: battles, with ids that are the same for every vote on the run, and the vote on each, whose position is
            ignored. Empty = the vote was taken back.
    """
    for battle in session.scalars(owned(visitor_key).where(Battle.run_id == clean_text(run_id)).options(*whole())):
        if has_vote(battle):
            judge(session, visitor_key, battle.id, NewJudgement(position=_num_own(battle), kind=UNDO))
    session.flush()
    session.expire_all()
    for new, vote in pairs:
        known = session.get(Battle, new.battle_id)
        if known is None:
            start(session, new)
            session.flush()
        position = _num_own(known) if known else 0
        judge(session, visitor_key, new.battle_id, replace(vote, position=position))


def _open_part(row: Judgement) -> dict[str, Any]:
    """A judgement as exported, without what is encrypted."""
    facts = json.loads(row.facts)
    return {"kind": row.kind, "outcome": row.outcome, "facts": facts, "created_at": row.created_at.isoformat()}


def _get(session: Session, battle_id: str) -> Battle:
    battle = session.get(Battle, battle_id)
    if battle is None:
        raise NotFoundError("there is no such battle")
    return battle
