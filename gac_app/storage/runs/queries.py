"""Reads runs: rows -> values. Every query checks the owner, so another visitor's run looks like a missing one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Engine, Select, select
from sqlalchemy.orm import Session, joinedload, selectinload

from gac_app.errors import DamagedError, NotFoundError, Phrase
from gac_app.storage.database.engine import reading
from gac_app.storage.database.paging import pages
from gac_app.storage.database.visitors import existing, is_visitor
from gac_app.storage.runs.records import RunStatus, StoredRun, Turn
from gac_app.storage.runs.rows import content_of, exported, stored, turn_of
from gac_app.storage.runs.tables import Answer, Conversation, Run
from gac_app.storage.text import clean_text

T = TypeVar("T")


def owned(visitor_key: str) -> Select[Run]:
    """The runs of one visitor."""
    return select(Run).join(Run.conversation).join(Conversation.visitor).where(is_visitor(visitor_key))


def get_owned(session: Session, visitor_key: str, run_id: str) -> Run:
    """One run of a visitor. Raises NotFoundError if it is missing or another visitor's."""
    run = session.scalars(owned(visitor_key).where(Run.id == clean_text(run_id))).one_or_none()
    return existing(run, Phrase("No such run."))


def get_owned_conversation(session: Session, visitor_key: str, conversation_id: str) -> Conversation:
    """One conversation of a visitor. Raises NotFoundError if it is missing or another visitor's."""
    query = select(Conversation).join(Conversation.visitor).where(is_visitor(visitor_key))
    conversation = session.scalars(query.where(Conversation.id == clean_text(conversation_id))).one_or_none()
    return existing(conversation, Phrase("No such conversation."))


def run_ids_of(session: Session, visitor_key: str, conversation_id: str) -> list[str]:
    """The ids of a conversation's runs, newest first, including damaged ones. NotFoundError if there are none."""
    conversation = get_owned_conversation(session, visitor_key, conversation_id)
    query = select(Run.id).where(Run.conversation_id == conversation.id).order_by(Run.position.desc())
    return list(session.scalars(query))


def conversations_of(session: Session, visitor_key: str, run_ids: Iterable[str]) -> dict[str, str]:
    """The ids of the visitor's runs among these, also of damaged ones -> the ids of their conversations."""
    query = owned(visitor_key).where(Run.id.in_([clean_text(run_id) for run_id in run_ids]))
    return dict(session.execute(query.with_only_columns(Run.id, Run.conversation_id)).tuples().all())


def load_run(session: Session, visitor_key: str, run_id: str) -> StoredRun:
    """A visitor's run with its answers, whose steps are read when they are looked at. NotFoundError, DamagedError."""
    run = get_owned(session, visitor_key, run_id)
    return stored(run, _turns(session, run), session.get_bind().engine)


def load_shared(session: Session, run_id: str) -> StoredRun:
    """A shared run, for anybody, without earlier turns unless its owner shares them too. Raises NotFoundError for any
    other run.
    """
    query = select(Run).where(Run.id == clean_text(run_id), Run.is_shared, Run.status != RunStatus.RUNNING)
    run = existing(
        session.scalars(query).one_or_none(), Phrase("This run is private or deleted. Its owner can share it.")
    )
    turns = _turns(session, run) if content_of(run).get("shares_turns") else {}
    return stored(run, turns, session.get_bind().engine)


def conversation_runs(session: Session, visitor_key: str, conversation_id: str) -> list[StoredRun]:
    """A conversation's runs in order, without damaged ones. Raises NotFoundError if the visitor has none there."""
    query = owned(visitor_key).where(Conversation.id == clean_text(conversation_id)).order_by(Run.position)
    runs = session.scalars(query.options(*_KEY_AND_VOTE, selectinload(Run.answers))).all()
    if not runs:
        raise NotFoundError(Phrase("No such conversation."))
    turns, engine = _by_id(runs), session.get_bind().engine
    return list(_readable(runs, lambda run: stored(run, turns, engine)))


def export(engine: Engine) -> Iterator[dict[str, Any]]:
    """Every run, oldest first, as JSON-able values. One run is in memory at a time, and no transaction stays open."""
    for run_ids in pages(engine, select(Run), Run.created_at, Run.id):
        for run_id in run_ids:
            with reading(engine) as session:
                line = export_run(session, run_id)
            if line:  # None if deleted meanwhile
                yield line


def export_run(session: Session, run_id: str) -> dict[str, Any] | None:
    """One run in the format of `export`; None if there is none."""
    run = session.get(Run, run_id, options=_WHOLE)
    if run is None:
        return None
    try:
        return exported(run, _turns(session, run))
    except DamagedError:
        return {"run_id": run.id, "status": str(RunStatus.DAMAGED)}


def _turns(session: Session, run: Run) -> dict[str, Turn]:
    """The turns that a run continues, by id, without deleted ones."""
    turn_ids = content_of(run)["turn_ids"]
    if not turn_ids:
        return {}
    query = select(Run).where(Run.id.in_(turn_ids), Run.conversation_id == run.conversation_id)
    return _by_id(session.scalars(query.options(joinedload(Run.key), selectinload(Run.answers))))


def _by_id(runs: Iterable[Run]) -> dict[str, Turn]:
    """The readable turns, by id. A damaged turn counts as deleted."""
    return {turn.run_id: turn for turn in _readable(runs, turn_of)}


def _readable(runs: Iterable[Run], read: Callable[[Run], T]) -> Iterator[T]:
    for run in runs:
        with suppress(DamagedError):
            yield read(run)


_KEY_AND_VOTE = (joinedload(Run.key), joinedload(Run.vote))
_WHOLE = (
    *_KEY_AND_VOTE,
    joinedload(Run.conversation).joinedload(Conversation.visitor),
    selectinload(Run.answers).joinedload(Answer.trace),
)
