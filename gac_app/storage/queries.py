"""Reading: rows -> values. Ownership is part of every query, so another's run is missing like one that never was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, and_, func, or_, select
from sqlalchemy.orm import Session, joinedload, selectinload

from gac_app.errors import DamagedError, NotFoundError
from gac_app.storage.engine import reading
from gac_app.storage.records import RunStatus, RunSummary, StoredRun, Turn
from gac_app.storage.rows import content_of, exported, stored, turn_of
from gac_app.storage.sealing import damage_named, unseal, unseal_json
from gac_app.storage.tables import Answer, Conversation, Run, RunKey, VisitorSession, Vote
from gac_app.storage.text import clean_text

_EXPORT_PAGE = 100
_SEARCH_BATCH = 200


def hash_key(visitor_key: str) -> str:
    """What is stored of a visitor's key. Its 100 and more random bits make a salt needless."""
    if not visitor_key:
        raise NotFoundError("this browser has no visitor key")
    return hashlib.sha256(visitor_key.encode("utf-8", "surrogatepass")).hexdigest()


def owned(visitor_key: str) -> Select[Run]:
    """The runs of one visitor."""
    mine = VisitorSession.key_hash == hash_key(visitor_key)
    return select(Run).join(Run.conversation).join(Conversation.visitor).where(mine)


def get_owned(session: Session, visitor_key: str, run_id: str) -> Run:
    """One run of a visitor; NotFoundError where it is missing or another's."""
    run = session.scalars(owned(visitor_key).where(Run.id == clean_text(run_id))).one_or_none()
    if run is None:
        raise NotFoundError("there is no such run")
    return run


def list_runs(session: Session, visitor_key: str, search: str, limit: int, offset: int) -> list[RunSummary]:
    """Prompts are sealed, so that a search opens them one by one, until the page is full."""
    num_answers = select(func.count(Answer.id)).where(Answer.run_id == Run.id).correlate(Run).scalar_subquery()
    of_ensemble = and_(Answer.run_id == Run.id, Answer.is_ensemble)
    query = (
        owned(visitor_key)
        .outerjoin(Run.key)
        .outerjoin(Answer, of_ensemble)
        .outerjoin(Vote)
        .with_only_columns(
            *(Run.id, Run.conversation_id, Run.position, Run.body, Run.status, Run.created_at, Run.branch_position),
            *(RunKey.key, Vote.body.label("vote"), num_answers.label("num_answers")),
            *(Answer.num_tokens, Answer.num_ensembled),
        )
        .order_by(Run.created_at.desc(), Run.position.desc(), Run.id)
    )
    if not search:
        return [_summary(row) for row in session.execute(query.limit(limit).offset(offset))]
    sought = clean_text(search).casefold()
    rows = session.execute(query.execution_options(yield_per=_SEARCH_BATCH))
    found = (summary for summary in map(_summary, rows) if sought in summary.prompt.casefold())
    return list(islice(found, offset, offset + limit))


def _summary(row: Row[Any]) -> RunSummary:
    prompt, outcome, status = "", None, RunStatus.DAMAGED
    try:
        with damage_named():
            outcome = None if row.vote is None else unseal(row.key, row.vote).decode()
            prompt = str(unseal_json(row.key, row.body)["prompt"])
            status = RunStatus(row.status)
    except DamagedError:
        pass  # the row is listed, so that it can be deleted
    return RunSummary(
        run_id=row.id,
        conversation_id=row.conversation_id,
        position=row.position,
        prompt=prompt,
        status=status,
        created_at=row.created_at,
        outcome=outcome,
        num_answers=row.num_answers,
        num_tokens=row.num_tokens or 0,
        num_ensembled=row.num_ensembled or 0,
        branch_position=row.branch_position,
    )


def load_run(session: Session, visitor_key: str, run_id: str) -> StoredRun:
    """Raises DamagedError where it cannot be read."""
    run = get_owned(session, visitor_key, run_id)
    return stored(run, _turns(session, run))


def conversation_runs(session: Session, visitor_key: str, conversation_id: str) -> list[StoredRun]:
    """Those that can be read, in order; NotFoundError where there is none of that visitor."""
    query = owned(visitor_key).where(Conversation.id == clean_text(conversation_id)).order_by(Run.position)
    runs = session.scalars(query.options(*_whole())).all()
    if not runs:
        raise NotFoundError("there is no such conversation")
    turns = _by_id(runs)
    return [stored(run, turns) for run in runs if run.id in turns]


def export(engine: Engine) -> Iterator[dict[str, Any]]:
    """Every run, oldest first, as JSON-able values. One run is in memory at a time, and no transaction stays open."""
    after: tuple[datetime, str] | None = None
    while keys := _export_keys(engine, after):
        for _, run_id in keys:
            with reading(engine) as session:
                run = session.get(Run, run_id, options=_whole())
                line = run and _exported(session, run)
            if line:  # else deleted meanwhile
                yield line
        after = keys[-1]


def _exported(session: Session, run: Run) -> dict[str, Any]:
    try:
        return exported(run, _turns(session, run))
    except DamagedError:
        return {"run_id": run.id, "status": str(RunStatus.DAMAGED)}


def _export_keys(engine: Engine, after: tuple[datetime, str] | None) -> list[tuple[datetime, str]]:
    query = select(Run.created_at, Run.id).order_by(Run.created_at, Run.id).limit(_EXPORT_PAGE)
    if after is not None:
        query = query.where(_is_after(*after))
    with reading(engine) as session:
        return [(created_at, run_id) for created_at, run_id in session.execute(query)]


def _is_after(created_at: datetime, run_id: str) -> ColumnElement[bool]:
    return or_(Run.created_at > created_at, and_(Run.created_at == created_at, Run.id > run_id))


def _turns(session: Session, run: Run) -> dict[str, Turn]:
    """The turns that a run goes on from and that are still there, by id."""
    turn_ids = content_of(run)["turn_ids"]
    if not turn_ids:
        return {}
    query = select(Run).where(Run.id.in_(turn_ids), Run.conversation_id == run.conversation_id)
    return _by_id(session.scalars(query.options(joinedload(Run.key), selectinload(Run.answers))))


def _by_id(runs: Iterable[Run]) -> dict[str, Turn]:
    """Those that can be read; a damaged turn is missing like a deleted one."""
    turns = {}
    for run in runs:
        try:
            turns[run.id] = turn_of(run)
        except DamagedError:
            continue
    return turns


def _whole() -> tuple[Any, ...]:
    return (
        joinedload(Run.key),
        joinedload(Run.vote),
        joinedload(Run.conversation),
        selectinload(Run.answers).joinedload(Answer.trace),
    )
