"""Reading: rows -> values. Ownership is part of every query, so another's run is missing like one that never was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Select, and_, func, or_, select
from sqlalchemy.orm import Session, joinedload, selectinload

from gac_app.decoding.events import FinishReason
from gac_app.decoding.serialise import usage_from_json
from gac_app.errors import NotFoundError
from gac_app.storage.engine import reading
from gac_app.storage.records import AnswerRecord, RunStatus, RunSummary, StoredRun
from gac_app.storage.tables import Answer, Conversation, Run, VisitorSession, Vote
from gac_app.storage.text import clean_text
from gac_app.storage.traces import StoredEvents, unpack_json

_EXPORT_PAGE = 100


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
    num_answers = select(func.count(Answer.id)).where(Answer.run_id == Run.id).correlate(Run).scalar_subquery()
    of_ensemble = and_(Answer.run_id == Run.id, Answer.is_ensemble)
    query = (
        owned(visitor_key)
        .outerjoin(Answer, of_ensemble)
        .outerjoin(Vote)
        .with_only_columns(Run, Vote.outcome, num_answers, Answer.num_tokens, Answer.num_ensembled)
        .order_by(Run.created_at.desc(), Run.position.desc(), Run.id)
        .limit(limit)
        .offset(offset)
    )
    if search:
        query = query.where(Run.prompt.icontains(clean_text(search), autoescape=True))
    return [_summary(*row) for row in session.execute(query)]


def load_run(session: Session, visitor_key: str, run_id: str) -> StoredRun:
    return _stored(get_owned(session, visitor_key, run_id))


def conversation_runs(session: Session, visitor_key: str, conversation_id: str) -> list[StoredRun]:
    query = owned(visitor_key).where(Conversation.id == clean_text(conversation_id)).order_by(Run.position)
    runs = session.scalars(query.options(*_whole())).all()
    if not runs:
        raise NotFoundError("there is no such conversation")
    return [_stored(run) for run in runs]


def export(engine: Engine) -> Iterator[dict[str, Any]]:
    """Every run, oldest first, as JSON-able values. One run is in memory at a time, and no transaction stays open."""
    after: tuple[datetime, str] | None = None
    while keys := _export_keys(engine, after):
        for _, run_id in keys:
            with reading(engine) as session:
                run = session.get(Run, run_id, options=_whole())
                exported = run and _exported(run)
            if exported:  # else deleted meanwhile
                yield exported
        after = keys[-1]


def _export_keys(engine: Engine, after: tuple[datetime, str] | None) -> list[tuple[datetime, str]]:
    query = select(Run.created_at, Run.id).order_by(Run.created_at, Run.id).limit(_EXPORT_PAGE)
    if after is not None:
        query = query.where(_is_after(*after))
    with reading(engine) as session:
        return [(created_at, run_id) for created_at, run_id in session.execute(query)]


def _is_after(created_at: datetime, run_id: str) -> ColumnElement[bool]:
    return or_(Run.created_at > created_at, and_(Run.created_at == created_at, Run.id > run_id))


def _whole() -> tuple[Any, ...]:
    return (
        joinedload(Run.vote),
        joinedload(Run.conversation),
        selectinload(Run.answers).joinedload(Answer.trace),
    )


def _summary(
    run: Run, outcome: str | None, num_answers: int, num_tokens: int | None, num_ensembled: int | None
) -> RunSummary:
    return RunSummary(
        run_id=run.id,
        conversation_id=run.conversation_id,
        position=run.position,
        prompt=run.prompt,
        status=RunStatus(run.status),
        created_at=run.created_at,
        outcome=outcome,
        num_answers=num_answers,
        num_tokens=num_tokens or 0,
        num_ensembled=num_ensembled or 0,
        branch_position=run.branch_position,
    )


def _stored(run: Run) -> StoredRun:
    return StoredRun(
        run_id=run.id,
        conversation_id=run.conversation_id,
        position=run.position,
        parent_run_id=run.parent_run_id,
        branch_position=run.branch_position,
        repeats_run_id=run.repeats_run_id,
        prompt=run.prompt,
        settings=run.settings,
        member_names=tuple(run.member_names),
        config_hash=run.config_hash,
        versions=run.versions,
        status=RunStatus(run.status),
        created_at=run.created_at,
        finished_at=run.finished_at,
        outcome=run.vote.outcome if run.vote else None,
        answers=tuple(_answer(answer) for answer in _ordered(run)),
    )


def _ordered(run: Run) -> list[Answer]:
    """The ensemble's answer first, then the members' as the ensemble names them."""
    order = {name: index for index, name in enumerate(run.member_names)}
    return sorted(run.answers, key=lambda answer: (not answer.is_ensemble, order.get(answer.system, len(order))))


def _answer(answer: Answer) -> AnswerRecord:
    return AnswerRecord(
        system=answer.system,
        is_ensemble=answer.is_ensemble,
        messages=answer.messages,
        text=answer.text,
        num_tokens=answer.num_tokens,
        num_ensembled=answer.num_ensembled,
        ttft_s=answer.ttft_s,
        seconds=answer.seconds,
        finish_reason=FinishReason(answer.finish_reason),
        detail=answer.detail,
        members=usage_from_json(answer.members),
        events=StoredEvents(answer.trace.steps) if answer.trace else (),
        digest=answer.digest,
        is_reproducible=answer.is_reproducible,
    )


def _exported(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "visitor": run.conversation.visitor_id,
        "conversation_id": run.conversation_id,
        "position": run.position,
        "parent_run_id": run.parent_run_id,
        "branch_position": run.branch_position,
        "repeats_run_id": run.repeats_run_id,
        "prompt": run.prompt,
        "settings": run.settings,
        "members": run.member_names,
        "config_hash": run.config_hash,
        "versions": run.versions,
        "status": run.status,
        "created_at": run.created_at.isoformat(),
        "finished_at": run.finished_at and run.finished_at.isoformat(),
        "vote": run.vote and {"outcome": run.vote.outcome, "created_at": run.vote.created_at.isoformat()},
        "answers": [_exported_answer(answer) for answer in _ordered(run)],
    }


def _exported_answer(answer: Answer) -> dict[str, Any]:
    return {
        "system": answer.system,
        "is_ensemble": answer.is_ensemble,
        "messages": answer.messages,
        "text": answer.text,
        "num_tokens": answer.num_tokens,
        "num_ensembled": answer.num_ensembled,
        "ttft_s": answer.ttft_s,
        "seconds": answer.seconds,
        "finish_reason": answer.finish_reason,
        "detail": answer.detail,
        "members": answer.members,
        "digest": answer.digest,
        "is_reproducible": answer.is_reproducible,
        "steps": unpack_json(answer.trace.steps) if answer.trace else [],
    }
