"""Reads and writes results of visitors' studies, encrypted like runs, each with its own key."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, LargeBinary, Select, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from gac_app.errors import Phrase
from gac_app.storage.database.encryption import (
    damage_named,
    decrypt,
    decrypt_json,
    destroy_keys,
    encrypt,
    encrypt_json,
    new_key,
    unless_damaged,
)
from gac_app.storage.database.tables import ID, Base, RunKey, VisitorSession, utc_now
from gac_app.storage.database.visitors import existing, is_visitor, own_visitor
from gac_app.storage.text import clean_json, clean_text

MAX_LISTED = 200


class Study(Base):
    """The result of a visitor's study. `head` is encrypted JSON for lists; `body` is zlib over JSON, encrypted."""

    __tablename__ = "study"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    visitor_id: Mapped[int] = mapped_column(ForeignKey("visitor_session.id", ondelete="CASCADE"), index=True)
    key_id: Mapped[int]
    head: Mapped[bytes] = mapped_column(LargeBinary)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """The result of a study, JSON-able. `head` is empty if the row is damaged, `body` if it was not asked for."""

    study_id: str
    created_at: datetime
    head: Mapping[str, Any]
    body: Mapping[str, Any] = field(default_factory=dict)


def packed(body: Mapping[str, Any]) -> bytes:
    """A result's body, to be encrypted."""
    return zlib.compress(json.dumps(clean_json(body)).encode())


def save(session: Session, visitor_key: str, study_id: str, head: Mapping[str, Any], body: bytes) -> None:
    """Write a result; `body` is `packed`."""
    visitor = own_visitor(session, visitor_key)
    key = new_key(session)
    encrypted = {"head": encrypt_json(key.key, head), "body": encrypt(key.key, body)}
    session.add(Study(id=study_id, visitor_id=visitor.id, key_id=key.id, **encrypted))


def of_visitor(session: Session, visitor_key: str) -> list[StoredStudy]:
    """A visitor's results, newest first, including damaged ones, without bodies."""
    return [_head_of(*row) for row in session.execute(_owned(visitor_key).limit(MAX_LISTED))]


def of_everybody(session: Session) -> list[StoredStudy]:
    """All visitors' results, newest first, without bodies."""
    return [_head_of(*row) for row in session.execute(_all().limit(MAX_LISTED))]


def load(session: Session, visitor_key: str, study_id: str) -> StoredStudy:
    """A visitor's result with its body. Raises NotFoundError, DamagedError."""
    study, key = _get(session, visitor_key, study_id)
    with damage_named():
        body = json.loads(zlib.decompress(decrypt(key, study.body)))
        return StoredStudy(study.id, study.created_at, decrypt_json(key, study.head), body)


def rename(session: Session, visitor_key: str, study_id: str, name: str) -> None:
    study, key = _get(session, visitor_key, study_id)
    study.head = encrypt_json(key, {**decrypt_json(key, study.head), "name": name})


def remove(session: Session, visitor_key: str, study_id: str) -> None:
    """Delete a result."""
    study, _ = _get(session, visitor_key, study_id)
    destroy_keys(session, select(Study.key_id).where(Study.id == study.id))
    session.execute(delete(Study).where(Study.id == study.id))


def _all() -> Select[Study, bytes]:
    newest_first = (Study.created_at.desc(), Study.id)
    return select(Study, RunKey.key).outerjoin(RunKey, RunKey.id == Study.key_id).order_by(*newest_first)


def _owned(visitor_key: str) -> Select[Study, bytes]:
    return _all().join(VisitorSession, VisitorSession.id == Study.visitor_id).where(is_visitor(visitor_key))


def _get(session: Session, visitor_key: str, study_id: str) -> tuple[Study, bytes]:
    found = session.execute(_owned(visitor_key).where(Study.id == clean_text(study_id))).one_or_none()
    study, key = existing(found, Phrase("No such result."))
    return study, key or b""


def _head_of(study: Study, key: bytes | None) -> StoredStudy:
    head: dict[str, Any] = unless_damaged(lambda: decrypt_json(key or b"", study.head), {})
    return StoredStudy(study.id, study.created_at, head)
