"""Imports runs and battles that another database exported. Each gets a key of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gac_app.decoding.trace import token_from_json
from gac_app.storage.battles.imports import import_battles
from gac_app.storage.battles.records import StoredBattle
from gac_app.storage.database.sealing import new_key, seal, seal_json
from gac_app.storage.database.tables import Answer, Conversation, Run, Vote
from gac_app.storage.runs.changes import imported_visitors
from gac_app.storage.runs.records import Imported, RunStatus
from gac_app.storage.runs.rows import sealed_steps
from gac_app.storage.runs.traces import packed


def bring(
    session: Session, runs: Sequence[Mapping[str, Any]], battles: Sequence[StoredBattle], withheld: Collection[str]
) -> Imported:
    """Import runs and battles, as exports tell of them, except `withheld` ids."""
    wanted_runs = [run for run in runs if run["run_id"] not in withheld]
    wanted = [battle for battle in battles if battle.battle_id not in withheld]
    num_new = sum(import_run(session, run) for run in wanted_runs) + import_battles(session, wanted)
    return Imported(num_new, len(runs) + len(battles) - len(wanted_runs) - len(wanted))


def import_run(session: Session, line: Mapping[str, Any]) -> bool:
    """Import a run in the format of `rows.exported`, which must have been checked. Returns whether it was new."""
    is_new = line["status"] != RunStatus.DAMAGED and session.get(Run, line["run_id"]) is None
    if is_new:
        _add(session, line)
    return is_new


def _add(session: Session, line: Mapping[str, Any]) -> None:
    conversation = session.get(Conversation, line["conversation_id"])
    if conversation is None:
        visitor_id = imported_visitors(session, [line["visitor"]])[line["visitor"]]
        conversation = Conversation(id=line["conversation_id"], visitor_id=visitor_id)
        session.add(conversation)
    key = new_key(session)
    same = ("prompt", "settings", "versions", "turn_ids", "seeds")
    content = {
        "member_names": line["members"],
        "swap": line["swap"],
        "consent": line["consent"],
        **{name: line[name] for name in same},
    }
    parent = line["parent_run_id"]
    session.add(
        Run(
            id=line["run_id"],
            conversation=conversation,
            position=_free_position(session, conversation.id, line["position"]),
            parent_run_id=parent if parent and session.get(Run, parent) else None,
            branch_position=line["branch_position"],
            repeats_run_id=line["repeats_run_id"],
            key_id=key.id,
            body=seal_json(key.key, content),
            config_hash=line["config_hash"],
            status=RunStatus(line["status"]),
            created_at=datetime.fromisoformat(line["created_at"]),
            finished_at=line["finished_at"] and datetime.fromisoformat(line["finished_at"]),
        )
    )
    session.flush()
    for answer in line["answers"]:
        session.add(_answer(line["run_id"], key.key, answer))
    if vote := line["vote"]:
        body = seal(key.key, vote["outcome"].encode())
        session.add(Vote(run_id=line["run_id"], body=body, created_at=datetime.fromisoformat(vote["created_at"])))


def _free_position(session: Session, conversation_id: str, position: int) -> int:
    """The run's position in the conversation; a new one at the end if another run has it now."""
    taken = set(session.scalars(select(Run.position).where(Run.conversation_id == conversation_id)))
    return max(taken) + 1 if position in taken else position


def _answer(run_id: str, key: bytes, line: Mapping[str, Any]) -> Answer:
    same = ("system", "is_ensemble", "num_tokens", "num_ensembled", "ttft_s", "seconds", "finish_reason", "digest")
    body = {name: line[name] for name in ("text", "detail", "members", "num_replayed")}
    return Answer(
        run_id=run_id,
        body=seal_json(key, body),
        is_reproducible=line["is_reproducible"],
        **sealed_steps(key, packed([token_from_json(step) for step in line["steps"]])),
        **{name: line[name] for name in same},
    )
