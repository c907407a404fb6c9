"""Writes battles, which are encrypted like runs with their own keys, and their judgements.

Battles that another database exported are imported: new ones all at once, new judgements of known ones singly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from gac_app.errors import Phrase, RequestError
from gac_app.storage.battles import standing_votes
from gac_app.storage.battles.queries import get_owned, has_vote, stored_judgement, whole
from gac_app.storage.battles.records import BATTLE_COLUMNS, BattleRecord, Kind, NewBattle, NewJudgement, StoredBattle
from gac_app.storage.battles.tables import Battle, Judgement, StandingVote
from gac_app.storage.database.database import server_of, when_written
from gac_app.storage.database.encryption import Key, destroy_keys, encrypt_json, key_of, new_key, new_keys
from gac_app.storage.database.tables import Base, utc_now
from gac_app.storage.database.visitors import existing, imported_visitors, own_visitor
from gac_app.storage.text import clean_text

RUNNING, CONTINUING, ANSWERED = "running", "continuing", "answered"  # the second: with a turn that was answered before
_NEVER_JUDGED = ("void", "skipped")


def start(session: Session, new: NewBattle) -> None:
    """Write a battle, which can be judged on this server."""
    columns = _columns(new, new_key(session))
    visitor = own_visitor(session, new.visitor_key)
    session.add(Battle(visitor=visitor, server_id=server_of(session), client=new.client, **columns))


def _columns(battle: BattleRecord, key: Key) -> dict[str, Any]:
    """What a new battle and an imported one have in common."""
    return {
        **{name: getattr(battle, name) for name in BATTLE_COLUMNS},
        "id": battle.battle_id,
        "left": clean_text(battle.left),
        "right": clean_text(battle.right),
        "key_id": key.id,
        "has_consent": bool(battle.body.get("consent")),
        "body": encrypt_json(key.key, battle.body),
    }


def update(session: Session, battle_id: str, status: str, body: Mapping[str, Any] | None = None) -> None:
    """Write a battle's status, and its state so far if there is a new one. Raises NotFoundError if it was deleted."""
    battle = existing(session.get(Battle, battle_id), Phrase("No such battle."))
    battle.status = status
    if body is not None:
        battle.body = encrypt_json(key_of(battle), body)
    if status in _NEVER_JUDGED:
        battle.server_id = None
    _tell_changed(session, battle_id)


def judge(session: Session, visitor_key: str, battle_id: str, new: NewJudgement) -> None:
    """Add a vote or a remark to the visitor's battle. A vote is final: no server judges the battle any more. Raises
    RequestError for a second vote, and for a remark before it.
    """
    battle = get_owned(session, visitor_key, battle_id)
    if new.kind == Kind.VOTE:
        if has_vote(battle):
            raise RequestError("vote", Phrase("You have judged this battle already."))
        if battle.server_id is None:
            raise RequestError("vote", Phrase("This battle can no longer be judged."))
        battle.server_id = None
    elif not has_vote(battle):
        raise RequestError("reasons", Phrase("Vote first, then say why."))
    elif before := next((row for row in battle.judgements if row.kind == Kind.REMARK), None):
        before.body, before.created_at = encrypt_json(key_of(battle), new.body), utc_now()
        _tell_changed(session, battle.id)
        return
    _append(session, battle, new)


def give_verdict(session: Session, battle_ids: Sequence[str], verdict: str) -> None:
    """Append the operator's verdict to battles; those that are gone are left out."""
    for battle in session.scalars(select(Battle).where(Battle.id.in_(battle_ids)).options(*whole())):
        _append(session, battle, NewJudgement(kind=Kind.VERDICT, outcome=verdict))


def _append(session: Session, battle: Battle, new: NewJudgement) -> None:
    """Append a row, and write which vote stands after it."""
    row = Judgement(
        battle_id=battle.id,
        position=len(battle.judgements),
        kind=new.kind,
        outcome=new.outcome,
        facts=orjson.dumps(new.facts),
        body=None if new.body is None else encrypt_json(key_of(battle), new.body),
    )
    session.add(row)
    _tell_changed(session, battle.id)
    if new.kind != Kind.REMARK:
        session.flush()  # gives the time
        standing_votes.refresh(session, battle, [stored_judgement(one) for one in (*battle.judgements, row)])


def _tell_changed(session: Session, battle_id: str) -> None:
    when_written(session, lambda observer: observer.changed(battle_id))


def remove(session: Session, visitor_key: str, battle_id: str) -> None:
    battle = get_owned(session, visitor_key, battle_id)
    destroy_keys(session, select(Battle.key_id).where(Battle.id == battle.id))
    session.execute(delete(Battle).where(Battle.id == battle.id))


def import_battles(session: Session, battles: Sequence[StoredBattle]) -> int:
    """Import battles or their new judgements. Returns the number of those of which anything was new."""
    by_id = {battle.battle_id: battle for battle in battles}
    known = set(session.scalars(select(Battle.id).where(Battle.id.in_(by_id))))
    added = [battle for battle in by_id.values() if battle.battle_id not in known]
    if added:
        _add_all(session, added)
    return len(added) + sum(_judge_again(session, by_id[battle_id]) for battle_id in known)


def _add_all(session: Session, battles: Sequence[StoredBattle]) -> None:
    visitor_ids = imported_visitors(session, (battle.visitor for battle in battles))
    rows: dict[type[Base], list[dict[str, Any]]] = {Battle: [], Judgement: [], StandingVote: []}
    for battle, key in zip(battles, new_keys(session, len(battles)), strict=True):
        visitor_id = visitor_ids[battle.visitor]
        more = {"visitor_id": visitor_id, "created_at": datetime.fromisoformat(battle.created_at)}
        rows[Battle].append({**_columns(battle, key), **more})
        rows[Judgement] += [_judgement_row(battle.battle_id, judgement, key.key) for judgement in battle.judgements]
        if vote := standing_votes.row_of(battle, battle.judgements):  # its address stays in the other database
            rows[StandingVote].append({**vote, "battle_id": battle.battle_id, "visitor_id": visitor_id, "client": ""})
    for table, found in rows.items():
        if found:
            session.execute(insert(table), found)


def _judge_again(session: Session, battle: StoredBattle) -> bool:
    """Add the judgements that a battle here lacks, and write a later remark. Returns whether there were any."""
    row = session.get_one(Battle, battle.battle_id)
    known = {judgement.id: judgement for judgement in row.judgements}
    added = [judgement for judgement in battle.judgements if judgement["id"] not in known]
    later = [new for new in battle.judgements if new["id"] in known and _moment(new) > known[new["id"]].created_at]
    for new in later:
        known[new["id"]].body, known[new["id"]].created_at = encrypt_json(key_of(row), new["body"]), _moment(new)
    if not added or len(known) + len(added) > len(battle.judgements):
        return bool(later)  # nothing else is new, or it was judged here since, which counts
    session.execute(insert(Judgement), [_judgement_row(row.id, judgement, key_of(row)) for judgement in added])
    standing_votes.refresh(session, row, battle.judgements)
    return True


def _judgement_row(battle_id: str, judgement: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    return {
        "id": judgement["id"],
        "battle_id": battle_id,
        "position": judgement["position"],
        "kind": judgement["kind"],
        "outcome": judgement["outcome"],
        "facts": orjson.dumps(judgement["facts"]),
        "body": None if judgement["body"] is None else encrypt_json(key, judgement["body"]),
        "created_at": _moment(judgement),
    }


def _moment(judgement: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(judgement["created_at"])
