"""Imports runs that another database exported. Each gets a key of its own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from gac_app.decoding.trace import token_from_json
from gac_app.errors import RequestError
from gac_app.storage.changes import imported_visitor
from gac_app.storage.records import RunStatus
from gac_app.storage.rows import sealed_steps
from gac_app.storage.sealing import new_key, seal, seal_json
from gac_app.storage.tables import Answer, Conversation, Run, Vote
from gac_app.storage.traces import packed


def import_run(session: Session, line: Mapping[str, Any]) -> bool:
    """Import a run in the format of `rows.exported`. Returns whether it was new. Raises RequestError for other
    lines.
    """
    try:
        return session.get(Run, line["run_id"]) is None and _add(session, line)
    except (AttributeError, LookupError, TypeError, ValueError):
        raise RequestError("import", "this line is no run as `export` writes it") from None


def _add(session: Session, line: Mapping[str, Any]) -> bool:
    if line["status"] == RunStatus.DAMAGED:
        return False
    conversation = session.get(Conversation, line["conversation_id"])
    if conversation is None:
        visitor = imported_visitor(session, str(line["visitor"]))  # exports of earlier versions have a number
        conversation = Conversation(id=line["conversation_id"], visitor=visitor)
        session.add(conversation)
    key = new_key(session)
    same = ("prompt", "settings", "versions", "turn_ids", "seeds")
    content = {
        "member_names": line["members"],
        "swap": line.get("swap"),
        "consent": line.get("consent", False),
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
    return True


def _free_position(session: Session, conversation_id: str, position: int) -> int:
    """The run's position in the conversation; a new one at the end if another run has it now."""
    taken = set(session.scalars(select(Run.position).where(Run.conversation_id == conversation_id)))
    return max(taken) + 1 if position in taken else position


def _answer(run_id: str, key: bytes, line: Mapping[str, Any]) -> Answer:
    same = ("system", "is_ensemble", "num_tokens", "num_ensembled", "ttft_s", "seconds", "finish_reason", "digest")
    body = {name: line[name] for name in ("text", "detail", "members")}
    return Answer(
        run_id=run_id,
        body=seal_json(key, {**body, "num_replayed": line.get("num_replayed", 0)}),  # older lines do not say
        is_reproducible=line["is_reproducible"],
        **sealed_steps(key, packed([token_from_json(step) for step in line["steps"]])),
        **{name: line[name] for name in same},
    )
