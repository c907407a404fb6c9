"""Imports battles that another database exported: new ones all at once, new judgements of known ones singly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from gac_app.storage.battles import standing_votes
from gac_app.storage.battles.queries import key_of
from gac_app.storage.battles.records import BATTLE_COLUMNS, StoredBattle
from gac_app.storage.battles.tables import Battle, Judgement, StandingVote
from gac_app.storage.database.encryption import Key, encrypt_json, new_keys
from gac_app.storage.database.tables import Base, RunKey
from gac_app.storage.database.visitors import imported_visitors
from gac_app.storage.runs.tables import Run


def import_battles(session: Session, battles: Sequence[StoredBattle]) -> int:
    """Import battles or their new judgements. Returns the number of those of which anything was new."""
    by_id = {battle.battle_id: battle for battle in battles}
    known = set(session.scalars(select(Battle.id).where(Battle.id.in_(by_id))))
    added = [battle for battle in by_id.values() if battle.battle_id not in known]
    if added:
        _add(session, added)
    return len(added) + sum(_judge_again(session, by_id[battle_id]) for battle_id in known)


def _add(session: Session, battles: Sequence[StoredBattle]) -> None:
    visitor_ids = imported_visitors(session, (battle.visitor for battle in battles))
    keys = _keys(session, battles)
    rows: dict[type[Base], list[dict[str, Any]]] = {Battle: [], Judgement: [], StandingVote: []}
    for battle in battles:
        visitor_id = visitor_ids[battle.visitor]
        (key_id, key), run_id = keys[battle.battle_id]
        rows[Battle].append(
            {
                **{name: getattr(battle, name) for name in BATTLE_COLUMNS},
                "id": battle.battle_id,
                "visitor_id": visitor_id,
                "run_id": run_id,
                "key_id": key_id,
                "has_consent": bool(battle.body.get("consent")),
                "body": encrypt_json(key, battle.body),
                "created_at": datetime.fromisoformat(battle.created_at),
            }
        )
        rows[Judgement] += [_judgement_row(battle.battle_id, judgement, key) for judgement in battle.judgements]
        if vote := standing_votes.row_of(battle, battle.judgements):  # its address stays in the other database
            rows[StandingVote].append({**vote, "battle_id": battle.battle_id, "visitor_id": visitor_id, "client": ""})
    for table, found in rows.items():
        if found:
            session.execute(insert(table), found)


def _keys(session: Session, battles: Sequence[StoredBattle]) -> dict[str, tuple[Key, str | None]]:
    """By battle: its key, and the run that implied it, whose key it is then."""
    run_ids = {battle.run_id for battle in battles if battle.run_id}
    query = select(Run.id, RunKey.id, RunKey.key).join(RunKey, RunKey.id == Run.key_id).where(Run.id.in_(run_ids))
    of_runs = {run_id: Key(key_id, key) for run_id, key_id, key in session.execute(query)}
    alone = [battle.battle_id for battle in battles if battle.run_id not in of_runs]
    own = dict(zip(alone, new_keys(session, len(alone)), strict=True))
    return {
        battle.battle_id: (own[battle.battle_id], None)
        if battle.battle_id in own
        else (of_runs[str(battle.run_id)], battle.run_id)
        for battle in battles
    }


def _judge_again(session: Session, battle: StoredBattle) -> bool:
    """Add the judgements that a battle here lacks. Returns whether there were any."""
    row = session.get_one(Battle, battle.battle_id)
    known = {judgement.id for judgement in row.judgements}
    added = [judgement for judgement in battle.judgements if judgement["id"] not in known]
    if not added or len(known) + len(added) > len(battle.judgements):
        return False  # nothing new, or it was judged here since, which counts
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
        "created_at": datetime.fromisoformat(judgement["created_at"]),
    }
