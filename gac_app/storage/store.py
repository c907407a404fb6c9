"""The store: what the services know of the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from gac_app.decoding.serialise import usage_to_json
from gac_app.errors import NotFoundError
from gac_app.storage import queries
from gac_app.storage.engine import open_engine, probe, reading, scrub, storage_errors, writing
from gac_app.storage.records import AnswerRecord, NewRun, RunStatus, RunSummary, StoredRun
from gac_app.storage.schema import upgrade_engine
from gac_app.storage.tables import Answer, Conversation, Run, Trace, VisitorSession, Vote, utc_now
from gac_app.storage.text import clean_json, clean_text
from gac_app.storage.traces import pack_events
from gac_app.storage.writer import Writer

T = TypeVar("T")


class Store:
    """Runs, answers, traces and votes.

    Writes are queued for one thread and answered with futures: done once committed, StorageError once the database
    has refused for `retry_s`, NotFoundError where the row is missing or another visitor's. Reads happen in the
    calling thread and raise the same errors.

    Args:
        url: any SQLAlchemy URL; the schema is made or upgraded.
        retry_s: how long a write is tried.
        is_owner: whether this process is the one that runs the models. Then runs still marked as running are from a
            process that died, and are marked as interrupted. False for a command beside a running server.

    Raises:
        StorageError: newer schema, damaged file, no permission, no server. Nothing is overwritten.
    """

    def __init__(self, url: str, *, retry_s: float = 30.0, is_owner: bool = True) -> None:
        self._engine = open_engine(url, busy_timeout_s=min(5.0, retry_s))
        try:
            upgrade_engine(self._engine, url)
            if is_owner:
                with storage_errors(self._engine), writing(self._engine) as session:
                    _interrupt_stale(session)
        except BaseException:
            self._engine.dispose()
            raise
        self._writer = Writer(self._engine, retry_s)

    @property
    def num_errors(self) -> int:
        """Writes lost for good since the start."""
        return self._writer.num_errors

    def start_run(self, run: NewRun) -> Future[None]:
        """Write a run as running, at the end of its conversation."""
        return self._write(lambda session: _start_run(session, run))

    def save_answer(self, run_id: str, answer: AnswerRecord) -> Future[None]:
        """Write an answer with its steps, in place of an earlier one of the same system."""
        return self._write(lambda session: _save_answer(session, run_id, answer))

    def finish_run(self, run_id: str, status: RunStatus) -> Future[None]:
        return self._write(lambda session: _finish_run(session, run_id, RunStatus(status)))

    def vote(self, visitor_key: str, run_id: str, outcome: str) -> Future[None]:
        """Vote on one's own run; a second vote replaces the first."""
        return self._write(lambda session: _vote(session, visitor_key, run_id, outcome))

    def undo_vote(self, visitor_key: str, run_id: str) -> Future[None]:
        """Take the vote on one's own run back, if there is one."""
        return self._write(lambda session: _undo_vote(session, visitor_key, run_id))

    def delete_run(self, visitor_key: str, run_id: str) -> Future[None]:
        """Delete a run with all its text; done once nothing of it is left in the database's files."""
        return self._delete(lambda session: _delete_run(session, visitor_key, run_id))

    def delete_visitor(self, visitor_key: str) -> Future[None]:
        """Delete everything of a visitor, as `delete_run` does; nothing where there is nothing."""
        return self._delete(lambda session: _delete_visitor(session, visitor_key))

    def list_runs(self, visitor_key: str, search: str = "", limit: int = 50, offset: int = 0) -> list[RunSummary]:
        """A visitor's runs, newest first; `search` is looked for in prompts literally, whatever its case."""
        with reading(self._engine) as session:
            return queries.list_runs(session, visitor_key, search, limit, offset)

    def load_run(self, visitor_key: str, run_id: str) -> StoredRun:
        with reading(self._engine) as session:
            return queries.load_run(session, visitor_key, run_id)

    def conversation_runs(self, visitor_key: str, conversation_id: str) -> list[StoredRun]:
        """A conversation's runs in order."""
        with reading(self._engine) as session:
            return queries.conversation_runs(session, visitor_key, conversation_id)

    def export(self) -> Iterator[dict[str, Any]]:
        """All runs of all visitors, oldest first, one JSON-able object each; a visitor is a bare number."""
        return queries.export(self._engine)

    def check(self) -> None:
        """Write to the database; StorageError where it does not take it."""
        probe(self._engine)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until every write so far is settled; False where that takes longer."""
        return self._writer.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, for at most `timeout_s`, fail the rest, and let go of the database."""
        self._writer.close(timeout_s)
        self._engine.dispose()

    def _write(self, work: Callable[[Session], None]) -> Future[None]:
        return self._writer.submit(lambda: self._transact(work))

    def _delete(self, work: Callable[[Session], None]) -> Future[None]:
        return self._writer.submit(lambda: self._transact(work), lambda: scrub(self._engine))

    def _transact(self, work: Callable[[Session], None]) -> None:
        with writing(self._engine) as session:
            work(session)


def _interrupt_stale(session: Session) -> None:
    stale = update(Run).where(Run.status == RunStatus.RUNNING)
    session.execute(stale.values(status=RunStatus.INTERRUPTED, finished_at=utc_now()))


def _start_run(session: Session, new: NewRun) -> None:
    conversation = _own_conversation(session, new)
    if new.parent_run_id is not None:
        queries.get_owned(session, new.visitor_key, new.parent_run_id)
    last = select(func.max(Run.position)).where(Run.conversation_id == conversation.id)
    session.add(
        Run(
            id=new.run_id,
            conversation=conversation,
            position=(-1 if (position := session.scalar(last)) is None else position) + 1,
            parent_run_id=new.parent_run_id,
            branch_position=new.branch_position,
            repeats_run_id=new.repeats_run_id,
            prompt=clean_text(new.prompt),
            settings=clean_json(new.settings),
            member_names=clean_json(new.member_names),
            config_hash=new.config_hash,
            versions=clean_json(new.versions),
            status=RunStatus.RUNNING,
        )
    )


def _own_conversation(session: Session, new: NewRun) -> Conversation:
    """The visitor's conversation of that id, made where there is none."""
    key_hash = queries.hash_key(new.visitor_key)
    conversation = session.get(Conversation, clean_text(new.conversation_id))
    if conversation is None:
        visitor = session.scalar(select(VisitorSession).where(VisitorSession.key_hash == key_hash))
        conversation = Conversation(id=new.conversation_id, visitor=visitor or VisitorSession(key_hash=key_hash))
        session.add(conversation)
        session.flush()
    elif conversation.visitor.key_hash != key_hash:
        raise NotFoundError("there is no such conversation")
    return conversation


def _save_answer(session: Session, run_id: str, record: AnswerRecord) -> None:
    _get_run(session, run_id)
    system = clean_text(record.system)
    session.execute(
        delete(Answer).where(Answer.run_id == run_id, Answer.is_ensemble == record.is_ensemble, Answer.system == system)
    )
    session.add(
        Answer(
            run_id=run_id,
            system=system,
            is_ensemble=record.is_ensemble,
            messages=clean_json(record.messages),
            text=clean_text(record.text),
            num_tokens=record.num_tokens,
            num_ensembled=record.num_ensembled,
            ttft_s=record.ttft_s,
            seconds=record.seconds,
            finish_reason=record.finish_reason,
            detail=clean_text(record.detail),
            members=clean_json(usage_to_json(record.members)),
            digest=record.digest,
            is_reproducible=record.is_reproducible,
            trace=Trace(steps=pack_events(record.events)),
        )
    )


def _finish_run(session: Session, run_id: str, status: RunStatus) -> None:
    run = _get_run(session, run_id)
    run.status = status
    run.finished_at = utc_now()


def _get_run(session: Session, run_id: str) -> Run:
    run = session.get(Run, run_id)
    if run is None:
        raise NotFoundError("there is no such run")  # deleted while it was running
    return run


def _vote(session: Session, visitor_key: str, run_id: str, outcome: str) -> None:
    run = queries.get_owned(session, visitor_key, run_id)
    session.merge(Vote(run_id=run.id, outcome=clean_text(outcome), created_at=utc_now()))


def _undo_vote(session: Session, visitor_key: str, run_id: str) -> None:
    run = queries.get_owned(session, visitor_key, run_id)
    session.execute(delete(Vote).where(Vote.run_id == run.id))


def _delete_run(session: Session, visitor_key: str, run_id: str) -> None:
    run = queries.get_owned(session, visitor_key, run_id)
    session.execute(delete(Run).where(Run.id == run.id))
    others = select(Run.id).where(Run.conversation_id == run.conversation_id)
    if session.scalar(others.limit(1)) is None:
        session.execute(delete(Conversation).where(Conversation.id == run.conversation_id))


def _delete_visitor(session: Session, visitor_key: str) -> None:
    session.execute(delete(VisitorSession).where(VisitorSession.key_hash == queries.hash_key(visitor_key)))
