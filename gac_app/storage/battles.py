"""Battles of the arena, sealed like runs, each with a key of its own, and their judgements, which are append-only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select, and_, delete, exists, func, or_, select
from sqlalchemy.orm import Session, aliased, joinedload, selectinload

from gac_app.errors import DamagedError, NotFoundError, RequestError
from gac_app.storage.battle_records import NewBattle, NewJudgement, StoredBattle, VoteRow
from gac_app.storage.changes import imported_visitor, own_visitor
from gac_app.storage.engine import reading
from gac_app.storage.queries import hash_key
from gac_app.storage.sealing import damage_named, destroy_keys, new_key, seal_json, unseal_json
from gac_app.storage.tables import Battle, Judgement, Run, VisitorSession
from gac_app.storage.text import clean_text

_EXPORT_PAGE = 100
VOTE, UNDO = "vote", "undo"


def start(session: Session, new: NewBattle) -> None:
    visitor = own_visitor(session, new.visitor_key)
    session.flush()
    run = session.get(Run, new.run_id) if new.run_id else None
    if new.run_id and (run is None or run.conversation.visitor_id != visitor.id):
        raise NotFoundError("there is no such run")
    key = run.key if run else new_key(session)
    session.add(
        Battle(
            id=new.battle_id,
            visitor=visitor,
            run_id=new.run_id,
            key_id=key.id,
            origin=new.origin,
            is_blind=new.is_blind,
            left=clean_text(new.left),
            right=clean_text(new.right),
            language=new.language,
            config_hash=new.config_hash,
            status=new.status,
            body=seal_json(key.key, new.body),
        )
    )


def add_judged(session: Session, new: NewBattle, vote: NewJudgement) -> bool:
    """Write a finished battle with the vote on it. Returns False if it is there already."""
    if session.get(Battle, new.battle_id) is not None:
        return False
    start(session, new)
    session.flush()
    judge(session, new.visitor_key, new.battle_id, vote)
    return True


def update(session: Session, battle_id: str, status: str, body: Mapping[str, Any]) -> None:
    """Write a battle's state so far. Raises NotFoundError where it was deleted meanwhile."""
    battle = session.get(Battle, battle_id)
    if battle is None:
        raise NotFoundError("there is no such battle")
    battle.status, battle.body = status, seal_json(_key_of(battle), body)


def judge(session: Session, visitor_key: str, battle_id: str, new: NewJudgement) -> None:
    """Append a row. Raises RequestError for a vote while one stands, an undo of none, and a row out of turn."""
    battle = _get_owned(session, visitor_key, battle_id)
    votes = [row.kind for row in battle.judgements if row.kind in (VOTE, UNDO)]
    stands = votes[-1:] == [VOTE]
    if new.position != len(battle.judgements) or (new.kind == VOTE and stands) or (new.kind == UNDO and not stands):
        raise RequestError("vote", "this battle has been judged already")
    session.add(
        Judgement(
            battle_id=battle.id,
            position=new.position,
            kind=new.kind,
            outcome=new.outcome,
            facts=json.dumps(new.facts, separators=(",", ":")).encode(),
            body=None if new.body is None else seal_json(_key_of(battle), new.body),
        )
    )


def remove(session: Session, visitor_key: str, battle_id: str) -> None:
    battle = _get_owned(session, visitor_key, battle_id)
    if battle.run_id is None:  # else the key is the run's
        destroy_keys(session, select(Battle.key_id).where(Battle.id == battle.id))
    session.execute(delete(Battle).where(Battle.id == battle.id))


def imply(session: Session, visitor_key: str, run_id: str, pairs: Sequence[tuple[NewBattle, NewJudgement]]) -> None:
    """Write what the vote on a run implies for its pairs, replacing what an earlier vote implied.

    Args:
        pairs: battles whose ids are the same for every vote on the run, and the vote on each; its position is ignored.
            Empty = the vote was taken back.
    """
    for battle in session.scalars(_owned(visitor_key).where(Battle.run_id == clean_text(run_id)).options(*_whole())):
        votes = [row.kind for row in battle.judgements if row.kind in (VOTE, UNDO)]
        if votes[-1:] == [VOTE]:
            judge(session, visitor_key, battle.id, NewJudgement(position=len(battle.judgements), kind=UNDO))
    session.flush()
    session.expire_all()
    for new, vote in pairs:
        known = session.get(Battle, new.battle_id)
        if known is None:
            start(session, new)
            session.flush()
        position = len(known.judgements) if known else 0
        judge(session, visitor_key, new.battle_id, replace(vote, position=position))


def load(session: Session, visitor_key: str, battle_id: str) -> StoredBattle:
    """A visitor's battle. Raises NotFoundError, DamagedError."""
    return _stored(_get_owned(session, visitor_key, battle_id))


def votes(session: Session, visitor_key: str = "") -> list[VoteRow]:
    """All standing votes, of one visitor or of everybody, in the order in which they were cast."""
    columns = (Judgement.battle_id, Battle.visitor_id, Battle.left, Battle.right, Judgement.outcome, Battle.origin)
    more = (Battle.is_blind, Battle.language, Battle.config_hash, Judgement.created_at, Judgement.facts)
    later = aliased(Judgement)
    is_undone = exists().where(
        later.battle_id == Judgement.battle_id, later.position > Judgement.position, later.kind == UNDO
    )
    query = select(*columns, *more).join(Battle, Battle.id == Judgement.battle_id)
    query = query.where(Judgement.kind == VOTE, ~is_undone).order_by(Judgement.created_at, Judgement.battle_id)
    if visitor_key:
        mine = VisitorSession.key_hash == hash_key(visitor_key)
        query = query.join(VisitorSession, VisitorSession.id == Battle.visitor_id).where(mine)
    return list(map(VoteRow._make, session.execute(query)))


def votes_version(session: Session) -> tuple[Any, ...]:
    """A value that changes with every judgement added or deleted."""
    query = select(func.count(), func.max(Judgement.created_at)).select_from(Judgement)
    return tuple(session.execute(query).one())


def export(engine: Engine, visitor_key: str = "") -> Iterator[StoredBattle]:
    """Every battle of one visitor or of everybody, oldest first; those that cannot be read are left out."""
    after: tuple[datetime, str] | None = None
    while page := _export_page(engine, visitor_key, after):
        for _, battle_id in page:
            with reading(engine) as session:
                battle = session.get(Battle, battle_id, options=_whole())
                try:
                    found = battle and _stored(battle)
                except DamagedError:
                    continue
            if found:  # else deleted meanwhile
                yield found
        after = page[-1]


def import_battle(session: Session, battle: StoredBattle) -> bool:
    """Add a battle of another database, or its judgements that are new here. Returns whether anything was new."""
    row = session.get(Battle, battle.battle_id)
    is_new = row is None
    if row is None:
        run = session.get(Run, battle.run_id) if battle.run_id else None
        key = run.key if run else new_key(session)
        row = Battle(
            id=battle.battle_id,
            visitor=imported_visitor(session, battle.visitor),
            run_id=run.id if run else None,
            key_id=key.id,
            origin=battle.origin,
            is_blind=battle.is_blind,
            left=battle.left,
            right=battle.right,
            language=battle.language,
            config_hash=battle.config_hash,
            status=battle.status,
            body=seal_json(key.key, battle.body),
            created_at=datetime.fromisoformat(battle.created_at),
        )
        session.add(row)
        session.flush()
    known = {judgement.id for judgement in row.judgements}
    added = [judgement for judgement in battle.judgements if judgement["id"] not in known]
    if not is_new and len(known) + len(added) > len(battle.judgements):
        return False  # judged here since: that stands
    for judgement in added:
        session.add(_imported_judgement(row, judgement, _key_of(row)))
    return is_new or bool(added)


def _imported_judgement(battle: Battle, judgement: Mapping[str, Any], key: bytes) -> Judgement:
    return Judgement(
        id=judgement["id"],
        battle_id=battle.id,
        position=judgement["position"],
        kind=judgement["kind"],
        outcome=judgement["outcome"],
        facts=json.dumps(judgement["facts"], separators=(",", ":")).encode(),
        body=None if judgement["body"] is None else seal_json(key, judgement["body"]),
        created_at=datetime.fromisoformat(judgement["created_at"]),
    )


def _owned(visitor_key: str) -> Select[Battle]:
    mine = VisitorSession.key_hash == hash_key(visitor_key)
    return select(Battle).join(Battle.visitor).where(mine)


def _get_owned(session: Session, visitor_key: str, battle_id: str) -> Battle:
    query = _owned(visitor_key).where(Battle.id == clean_text(battle_id)).options(*_whole())
    battle = session.scalars(query).one_or_none()
    if battle is None:
        raise NotFoundError("there is no such battle")
    return battle


def _whole() -> tuple[Any, ...]:
    return joinedload(Battle.key), joinedload(Battle.visitor), selectinload(Battle.judgements)


def _key_of(battle: Battle) -> bytes:
    with damage_named():
        return battle.key.key


def _export_page(engine: Engine, visitor_key: str, after: tuple[datetime, str] | None) -> list[tuple[datetime, str]]:
    query = (_owned(visitor_key) if visitor_key else select(Battle)).with_only_columns(Battle.created_at, Battle.id)
    query = query.order_by(Battle.created_at, Battle.id).limit(_EXPORT_PAGE)
    if after is not None:
        at, battle_id = after
        query = query.where(or_(Battle.created_at > at, and_(Battle.created_at == at, Battle.id > battle_id)))
    with reading(engine) as session:
        return [(created_at, battle_id) for created_at, battle_id in session.execute(query)]


def _stored(battle: Battle) -> StoredBattle:
    key = _key_of(battle)
    with damage_named():
        return StoredBattle(
            battle_id=battle.id,
            visitor=battle.visitor.pseudonym,
            run_id=battle.run_id,
            origin=battle.origin,
            is_blind=battle.is_blind,
            left=battle.left,
            right=battle.right,
            language=battle.language,
            config_hash=battle.config_hash,
            status=battle.status,
            created_at=battle.created_at.isoformat(),
            body=unseal_json(key, battle.body),
            judgements=tuple(_stored_judgement(key, row) for row in battle.judgements),
        )


def _stored_judgement(key: bytes, row: Judgement) -> dict[str, Any]:
    return {
        "id": row.id,
        "position": row.position,
        "kind": row.kind,
        "outcome": row.outcome,
        "facts": json.loads(row.facts),
        "body": None if row.body is None else unseal_json(key, row.body),
        "created_at": row.created_at.isoformat(),
    }
