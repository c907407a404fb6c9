"""Writes runs, votes and conversations, inside the caller's transaction."""

from __future__ import annotations

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from gac_app.errors import Phrase
from gac_app.storage.database.database import server_of
from gac_app.storage.database.encryption import destroy_keys, encrypt, encrypt_json, key_of, new_key
from gac_app.storage.database.tables import utc_now
from gac_app.storage.database.visitors import existing, own_visitor
from gac_app.storage.runs.queries import get_owned, get_owned_conversation, owned
from gac_app.storage.runs.records import AnswerRecord, NewRun, RunStatus
from gac_app.storage.runs.rows import answer_row, content_of, facts_of, outcome_of
from gac_app.storage.runs.tables import Answer, Conversation, Run, Vote
from gac_app.storage.runs.traces import Packed
from gac_app.storage.text import clean_text

_SAME_IN_BODY = ("prompt", "settings", "member_names", "versions", "turn_ids", "seeds")


def start_run(session: Session, new: NewRun) -> None:
    """Write a run as running, at the end of its conversation."""
    conversation = _own_conversation(session, new)
    parent_id = new.parent_run_id
    if parent_id is not None and session.get(Run, parent_id) is None:
        parent_id = None  # while the database was away it was answered, and never stored
    if parent_id is not None:
        get_owned(session, new.visitor_key, parent_id)
    last = session.scalar(select(func.max(Run.position)).where(Run.conversation_id == conversation.id))
    key = new_key(session)
    content = {name: getattr(new, name) for name in _SAME_IN_BODY}
    content["swap"] = new.swap and [token.hex() for token in new.swap]
    session.add(
        Run(
            id=new.run_id,
            conversation=conversation,
            position=0 if last is None else last + 1,
            parent_run_id=parent_id,
            branch_position=new.branch_position,
            repeats_run_id=new.repeats_run_id,
            key_id=key.id,
            server_id=server_of(session),
            body=encrypt_json(key.key, content),
            config_hash=new.config_hash,
            status=RunStatus.RUNNING,
        )
    )


def _own_conversation(session: Session, new: NewRun) -> Conversation:
    """The visitor's conversation with that id, created if missing."""
    if session.get(Conversation, clean_text(new.conversation_id)) is None:
        session.add(Conversation(id=new.conversation_id, visitor=own_visitor(session, new.visitor_key)))
        session.flush()
    return get_owned_conversation(session, new.visitor_key, new.conversation_id)


def save_answer(session: Session, run_id: str, record: AnswerRecord, packed: Packed) -> None:
    """Write an answer; `packed` are its steps."""
    key = key_of(_get_run(session, run_id))
    facts = facts_of(record)
    is_same = (Answer.run_id == run_id, Answer.is_ensemble == record.is_ensemble, Answer.system == facts["system"])
    session.execute(delete(Answer).where(*is_same))
    session.add(answer_row(run_id, key, facts, packed))


def finish_run(session: Session, run_id: str, status: RunStatus) -> None:
    run = _get_run(session, run_id)
    run.status = RunStatus(status)
    run.finished_at = utc_now()
    run.server_id = None


def _get_run(session: Session, run_id: str) -> Run:
    return existing(session.get(Run, run_id), Phrase("No such run."))  # it may be deleted while it is running


def vote(session: Session, visitor_key: str, run_id: str, outcome: str) -> None:
    """Vote on the visitor's run. A second vote replaces the first."""
    run, outcome = get_owned(session, visitor_key, run_id), clean_text(outcome)
    if outcome != outcome_of(run):
        session.merge(Vote(run_id=run.id, body=encrypt(key_of(run), outcome.encode()), created_at=utc_now()))


def undo_vote(session: Session, visitor_key: str, run_id: str) -> None:
    """Take back the vote on the visitor's run, if there is one."""
    run = get_owned(session, visitor_key, run_id)
    if run.vote:
        session.execute(delete(Vote).where(Vote.run_id == run.id))


def share_run(session: Session, visitor_key: str, run_id: str, is_shared: bool, with_turns: bool = False) -> None:
    """Set whether anybody who knows its id may read a run, and with it the turns that it continues."""
    run = get_owned(session, visitor_key, run_id)
    run.is_shared = is_shared
    run.body = encrypt_json(key_of(run), {**content_of(run), "shares_turns": is_shared and with_turns})


def name_conversation(session: Session, visitor_key: str, conversation_id: str, name: str) -> None:
    """Name a conversation; "" removes its name. Every name has its own key, so that the previous name becomes
    unreadable.
    """
    conversation = get_owned_conversation(session, visitor_key, conversation_id)
    _destroy_name_key(session, conversation.id)
    conversation.name, conversation.key_id = None, None
    if name:
        key = new_key(session)
        conversation.name, conversation.key_id = encrypt(key.key, clean_text(name).encode()), key.id


def star_conversation(session: Session, visitor_key: str, conversation_id: str, is_starred: bool) -> None:
    get_owned_conversation(session, visitor_key, conversation_id).is_starred = is_starred


def _destroy_name_key(session: Session, conversation_id: str) -> None:
    name_keys = select(Conversation.key_id).where(Conversation.key_id.is_not(None))
    destroy_keys(session, name_keys.where(Conversation.id == conversation_id))


def delete_run(session: Session, visitor_key: str, run_id: str) -> None:
    """Delete a run with all its text, even if it is damaged, and its conversation if it was the last one there."""
    run = get_owned(session, visitor_key, run_id)
    destroy_keys(session, select(Run.key_id).where(Run.id == run.id))
    session.execute(delete(Run).where(Run.id == run.id))
    others = select(Run.id).where(Run.conversation_id == run.conversation_id)
    if session.scalar(others.limit(1)) is None:
        _destroy_name_key(session, run.conversation_id)
        session.execute(delete(Conversation).where(Conversation.id == run.conversation_id))


def destroy_runs(session: Session, visitor_key: str) -> tuple[str, ...]:
    """Destroy the keys of all runs of a visitor, whose rows must then be deleted. Returns the runs' ids."""
    destroy_keys(session, owned(visitor_key).with_only_columns(Run.key_id))
    return tuple(session.scalars(owned(visitor_key).with_only_columns(Run.id)))
