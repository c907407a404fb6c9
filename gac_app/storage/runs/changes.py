"""Writes runs, votes and visitors, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.orm import Session

from gac_app.decoding.trace import usage_to_json
from gac_app.errors import NotFoundError
from gac_app.storage.database.sealing import damage_named, destroy_keys, new_key, seal, seal_json
from gac_app.storage.database.tables import (
    Answer,
    Battle,
    Conversation,
    Run,
    StandingVote,
    Study,
    VisitorSession,
    Vote,
    utc_now,
)
from gac_app.storage.pseudonyms import is_pseudonym_of, new_pseudonym
from gac_app.storage.runs.queries import get_owned, get_owned_conversation, hash_key, is_visitor, owned
from gac_app.storage.runs.records import AnswerRecord, Gone, NewRun, RunStatus
from gac_app.storage.runs.rows import sealed_steps
from gac_app.storage.runs.traces import Packed
from gac_app.storage.text import clean_text

_IMPORTED = "imported:"  # followed by a pseudonym, in place of the hash of an unknown key


def start_run(session: Session, new: NewRun, server_id: str | None) -> None:
    conversation = _own_conversation(session, new)
    if new.parent_run_id is not None:
        get_owned(session, new.visitor_key, new.parent_run_id)
    last = select(func.max(Run.position)).where(Run.conversation_id == conversation.id)
    key = new_key(session)
    content = {
        "prompt": new.prompt,
        "settings": new.settings,
        "member_names": new.member_names,
        "versions": new.versions,
        "turn_ids": new.turn_ids,
        "seeds": new.seeds,
        "swap": new.swap and [token.hex() for token in new.swap],
        "consent": new.has_consent,
    }
    session.add(
        Run(
            id=new.run_id,
            conversation=conversation,
            position=(-1 if (position := session.scalar(last)) is None else position) + 1,
            parent_run_id=new.parent_run_id,
            branch_position=new.branch_position,
            repeats_run_id=new.repeats_run_id,
            key_id=key.id,
            server_id=server_id,
            body=seal_json(key.key, content),
            config_hash=new.config_hash,
            status=RunStatus.RUNNING,
        )
    )


def _own_conversation(session: Session, new: NewRun) -> Conversation:
    """The visitor's conversation with that id, created if missing."""
    if session.get(Conversation, clean_text(new.conversation_id)) is None:
        conversation = Conversation(id=new.conversation_id, visitor=own_visitor(session, new.visitor_key))
        session.add(conversation)
        session.flush()
    return get_owned_conversation(session, new.visitor_key, new.conversation_id)


def own_visitor(session: Session, visitor_key: str) -> VisitorSession:
    """The visitor with that key, created if missing."""
    visitor = _find_visitor(session, visitor_key)
    if visitor is None:
        adopt(session, visitor_key)
        visitor = _find_visitor(session, visitor_key)
    if visitor is None:
        visitor = VisitorSession(key_hash=hash_key(visitor_key), pseudonym=new_pseudonym(visitor_key))
        session.add(visitor)
    return visitor


def adopt(session: Session, visitor_key: str) -> None:
    """Give a visitor their imported runs and battles, which their key proves by the pseudonym."""
    imported = select(VisitorSession.id, VisitorSession.pseudonym).where(VisitorSession.key_hash.startswith(_IMPORTED))
    own = [id_ for id_, pseudonym in session.execute(imported) if is_pseudonym_of(visitor_key, pseudonym)]
    for imported_id in own:
        is_it, visitor = VisitorSession.id == imported_id, _find_visitor(session, visitor_key)
        if visitor is None:
            session.execute(update(VisitorSession).where(is_it).values(key_hash=hash_key(visitor_key)))
            continue
        for table in (Conversation, Battle, Study, StandingVote):
            session.execute(update(table).where(table.visitor_id == imported_id).values(visitor_id=visitor.id))
        session.execute(delete(VisitorSession).where(is_it))


def _find_visitor(session: Session, visitor_key: str) -> VisitorSession | None:
    return session.scalar(select(VisitorSession).where(is_visitor(visitor_key)))


def imported_visitors(session: Session, pseudonyms: Iterable[str]) -> dict[str, int]:
    """The ids of visitors of another database, by pseudonym; created if missing."""
    wanted = set(pseudonyms)
    query = select(VisitorSession.pseudonym, VisitorSession.id).where(VisitorSession.pseudonym.in_(wanted))
    found = dict(session.execute(query).tuples().all())
    added = [{"key_hash": f"{_IMPORTED}{name}"[:64], "pseudonym": name} for name in sorted(wanted - found.keys())]
    if added:
        visitors = insert(VisitorSession.__table__).returning(  # type: ignore[arg-type]
            VisitorSession.pseudonym, VisitorSession.id
        )
        found |= dict(session.execute(visitors, added).tuples().all())
    return found


def save_answer(session: Session, run_id: str, record: AnswerRecord, packed: Packed) -> None:
    """Write an answer; `packed` are its steps."""
    key = _key_of(_get_run(session, run_id))
    system = clean_text(record.system)
    session.execute(
        delete(Answer).where(Answer.run_id == run_id, Answer.is_ensemble == record.is_ensemble, Answer.system == system)
    )
    body = {
        "text": record.text,
        "detail": record.detail,
        "members": usage_to_json(record.members),
        "num_replayed": record.num_replayed,
    }
    session.add(
        Answer(
            run_id=run_id,
            system=system,
            is_ensemble=record.is_ensemble,
            body=seal_json(key, body),
            num_tokens=record.num_tokens,
            num_ensembled=record.num_ensembled,
            ttft_s=record.ttft_s,
            seconds=record.seconds,
            finish_reason=record.finish_reason,
            digest=record.digest,
            is_reproducible=record.is_reproducible,
            **sealed_steps(key, packed),
        )
    )


def finish_run(session: Session, run_id: str, status: RunStatus) -> None:
    run = _get_run(session, run_id)
    run.status = status
    run.finished_at = utc_now()
    run.server_id = None


def _get_run(session: Session, run_id: str) -> Run:
    run = session.get(Run, run_id)
    if run is None:
        raise NotFoundError("there is no such run")  # deleted while it was running
    return run


def _key_of(run: Run) -> bytes:
    with damage_named():
        return run.key.key


def vote(session: Session, visitor_key: str, run_id: str, outcome: str) -> None:
    run = get_owned(session, visitor_key, run_id)
    body = seal(_key_of(run), clean_text(outcome).encode())
    session.merge(Vote(run_id=run.id, body=body, created_at=utc_now()))


def undo_vote(session: Session, visitor_key: str, run_id: str) -> None:
    run = get_owned(session, visitor_key, run_id)
    session.execute(delete(Vote).where(Vote.run_id == run.id))


def share_run(session: Session, visitor_key: str, run_id: str, is_shared: bool) -> None:
    get_owned(session, visitor_key, run_id).is_shared = is_shared


def name_conversation(session: Session, visitor_key: str, conversation_id: str, name: str) -> None:
    """Every name has its own key, so that the previous name becomes unreadable."""
    conversation = get_owned_conversation(session, visitor_key, conversation_id)
    _destroy_name_keys(session, Conversation.id == conversation.id)
    conversation.name, conversation.key_id = None, None
    if name:
        key = new_key(session)
        conversation.name, conversation.key_id = seal(key.key, clean_text(name).encode()), key.id


def star_conversation(session: Session, visitor_key: str, conversation_id: str, is_starred: bool) -> None:
    get_owned_conversation(session, visitor_key, conversation_id).is_starred = is_starred


def _destroy_name_keys(session: Session, of: ColumnElement[bool]) -> None:
    destroy_keys(session, select(Conversation.key_id).where(of, Conversation.key_id.is_not(None)))


def delete_run(session: Session, visitor_key: str, run_id: str) -> Gone:
    run = get_owned(session, visitor_key, run_id)
    gone = Gone((run.id,), tuple(session.scalars(select(Battle.id).where(Battle.run_id == run.id))))
    destroy_keys(session, select(Run.key_id).where(Run.id == run.id))
    session.execute(delete(Run).where(Run.id == run.id))
    others = select(Run.id).where(Run.conversation_id == run.conversation_id)
    if session.scalar(others.limit(1)) is None:
        _destroy_name_keys(session, Conversation.id == run.conversation_id)
        session.execute(delete(Conversation).where(Conversation.id == run.conversation_id))
    return gone


def delete_visitor(session: Session, visitor_key: str) -> Gone:
    adopt(session, visitor_key)
    destroy_keys(session, owned(visitor_key).with_only_columns(Run.key_id))
    visitor_id = select(VisitorSession.id).where(is_visitor(visitor_key)).scalar_subquery()
    run_ids = session.scalars(owned(visitor_key).with_only_columns(Run.id))
    gone = Gone(tuple(run_ids), tuple(session.scalars(select(Battle.id).where(Battle.visitor_id == visitor_id))))
    _destroy_name_keys(session, Conversation.visitor_id == visitor_id)
    for table in (Study, Battle):
        destroy_keys(session, select(table.key_id).where(table.visitor_id == visitor_id))
    session.execute(delete(VisitorSession).where(is_visitor(visitor_key)))
    return gone
