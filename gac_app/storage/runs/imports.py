"""Imports runs that another database exported. Each gets a key of its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gac_app.decoding.trace import token_from_json
from gac_app.storage.database.encryption import encrypt, encrypt_json, new_key
from gac_app.storage.database.visitors import imported_visitors
from gac_app.storage.runs.records import RunStatus
from gac_app.storage.runs.rows import RUN_BODY, answer_row
from gac_app.storage.runs.tables import Conversation, Run, Vote
from gac_app.storage.runs.traces import packed


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
    content = {"member_names": line["members"], **{name: line[name] for name in RUN_BODY}}
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
            body=encrypt_json(key.key, content),
            config_hash=line["config_hash"],
            status=RunStatus(line["status"]),
            created_at=datetime.fromisoformat(line["created_at"]),
            finished_at=line["finished_at"] and datetime.fromisoformat(line["finished_at"]),
        )
    )
    session.flush()
    for answer in line["answers"]:
        steps = packed([token_from_json(step) for step in answer["steps"]])
        session.add(answer_row(line["run_id"], key.key, answer, steps))
    if vote := line["vote"]:
        body = encrypt(key.key, vote["outcome"].encode())
        session.add(Vote(run_id=line["run_id"], body=body, created_at=datetime.fromisoformat(vote["created_at"])))


def _free_position(session: Session, conversation_id: str, position: int) -> int:
    """The run's position in the conversation; a new one at the end if another run has it now."""
    taken = set(session.scalars(select(Run.position).where(Run.conversation_id == conversation_id)))
    return max(taken) + 1 if position in taken else position
