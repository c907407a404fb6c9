"""Reads battles: rows -> values. As for runs, every query checks the owner."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, exists, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from gac_app.errors import DamagedError, Phrase
from gac_app.storage.battles.records import BATTLE_COLUMNS, CastVote, Holding, Kind, StoredBattle
from gac_app.storage.battles.tables import Battle, Judgement
from gac_app.storage.database.encryption import damage_named, decrypt_json, key_of
from gac_app.storage.database.engine import reading
from gac_app.storage.database.paging import pages
from gac_app.storage.database.tables import utc_now
from gac_app.storage.database.visitors import existing, is_visitor
from gac_app.storage.text import clean_text

_JUDGED_WITHIN = timedelta(days=1)  # later, a battle is not judged any more


def load(session: Session, visitor_key: str, battle_id: str) -> StoredBattle:
    """A visitor's battle. Raises NotFoundError, DamagedError."""
    return stored(get_owned(session, visitor_key, battle_id))


def cast(session: Session) -> list[CastVote]:
    """All blind votes of people, newest first, for the operator."""
    columns = (Judgement.battle_id, Battle.left, Battle.right, Judgement.created_at, Judgement.facts)
    query = select(*columns).join(Battle, Battle.id == Judgement.battle_id)
    query = query.where(Judgement.kind == Kind.VOTE, Battle.is_blind)
    return list(map(CastVote._make, session.execute(query.order_by(Judgement.created_at.desc()))))


def verdicts(session: Session) -> dict[str, str]:
    """The operator's last verdict by battle."""
    query = select(Judgement.battle_id, Judgement.outcome).where(Judgement.kind == Kind.VERDICT)
    return dict(session.execute(query.order_by(Judgement.position)).tuples().all())


def num_judgements(session: Session) -> int:
    return session.scalar(select(func.count(Judgement.id))) or 0


def num_started(session: Session, since: datetime, visitor_key: str = "", client: str = "") -> int:
    """Blind battles that were started since then, by one visitor, one address or everybody."""
    begun = owned(visitor_key) if visitor_key else select(Battle)
    begun = begun.where(Battle.client == client) if client else begun
    counted = begun.with_only_columns(func.count()).where(Battle.created_at >= since, Battle.is_blind)
    return session.scalar(counted) or 0


def holding(session: Session, battle_id: str) -> Holding | None:
    """Who judges a battle of any visitor, whose names are secret; None if nobody does."""
    query = select(Battle.server_id, Battle.client).where(_is_open(), Battle.id == clean_text(battle_id))
    row = session.execute(query).one_or_none()
    return None if row is None else Holding._make(row)


def newest(session: Session, visitor_key: str, limit: int) -> tuple[list[StoredBattle], int]:
    """A visitor's newest battles except open ones (see `_is_open`), newest first, and their number. Damaged ones are
    left out. Names may be shown of those with `names_revealed`.
    """
    query = owned(visitor_key).where(~_is_open())
    num = session.scalar(select(func.count()).select_from(query.with_only_columns(Battle.id).subquery()))
    last_first = query.order_by(Battle.created_at.desc(), Battle.id.desc()).limit(limit)
    return list(_readable(session.scalars(last_first.options(*whole())))), num or 0


def export(engine: Engine, visitor_key: str = "") -> Iterator[StoredBattle]:
    """Every battle of one visitor or of everybody, oldest first. Unreadable ones are left out, and those that are open
    (see `_is_open`) when their page is read.
    """
    wanted = owned(visitor_key) if visitor_key else select(Battle)
    for battle_ids in pages(engine, wanted.where(~_is_open()), Battle.created_at, Battle.id):
        query = select(Battle).where(Battle.id.in_(battle_ids)).order_by(Battle.created_at, Battle.id)
        with reading(engine) as session:
            found = list(_readable(session.scalars(query.options(*whole()))))
        yield from found


def agreed(session: Session) -> list[str]:
    """The ids of the battles that may be published: there is a vote, and the visitor agrees. Nothing is decrypted."""
    query = select(Battle.id).where(Battle.has_consent, _has_vote())
    return list(session.scalars(query.order_by(Battle.created_at, Battle.id)))


def of_id(session: Session, battle_id: str) -> StoredBattle | None:
    """A battle of any visitor; None if there is none."""
    battle = session.get(Battle, battle_id, options=whole())
    return None if battle is None else stored(battle)


def ids_of_visitor(session: Session, visitor_key: str) -> tuple[str, ...]:
    """The ids of a visitor's battles."""
    return tuple(session.scalars(owned(visitor_key).with_only_columns(Battle.id)))


def _is_open() -> ColumnElement[bool]:
    is_new = Battle.created_at >= utc_now() - _JUDGED_WITHIN
    return _is_held() & is_new & ~_has_vote()


def _is_held() -> ColumnElement[bool]:
    """Whether a server judges a battle. `> ""`: most have none, and the index leads past them. Never NULL, as it is
    negated too.
    """
    return Battle.server_id.is_not(None) & (Battle.server_id > "")


def _has_vote() -> ColumnElement[bool]:
    return exists().where(Judgement.battle_id == Battle.id, Judgement.kind == Kind.VOTE)


def has_vote(battle: Battle) -> bool:
    return any(row.kind == Kind.VOTE for row in battle.judgements)


def owned(visitor_key: str) -> Select[Battle]:
    return select(Battle).join(Battle.visitor).where(is_visitor(visitor_key))


def get_owned(session: Session, visitor_key: str, battle_id: str) -> Battle:
    query = owned(visitor_key).where(Battle.id == clean_text(battle_id)).options(*whole())
    return existing(session.scalars(query).one_or_none(), Phrase("No such battle."))


def whole() -> tuple[Any, ...]:
    return joinedload(Battle.key), joinedload(Battle.visitor), selectinload(Battle.judgements)


def _readable(battles: Iterable[Battle]) -> Iterator[StoredBattle]:
    for battle in battles:
        with suppress(DamagedError):
            yield stored(battle)


def stored(battle: Battle) -> StoredBattle:
    key = key_of(battle)
    with damage_named():
        return StoredBattle(
            battle_id=battle.id,
            visitor=battle.visitor.pseudonym,
            **{name: getattr(battle, name) for name in BATTLE_COLUMNS},
            created_at=battle.created_at.isoformat(),
            body=decrypt_json(key, battle.body),
            judgements=tuple(stored_judgement(row, key) for row in battle.judgements),
        )


def stored_judgement(row: Judgement, key: bytes = b"") -> dict[str, Any]:
    """A judgement as exported; without a battle's key, without what is encrypted."""
    return {
        "id": row.id,
        "position": row.position,
        "kind": row.kind,
        "outcome": row.outcome,
        "facts": json.loads(row.facts),
        "body": decrypt_json(key, row.body) if key and row.body is not None else None,
        "created_at": row.created_at.isoformat(),
    }
