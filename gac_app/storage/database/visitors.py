"""Visitors, told apart by the key that their browser keeps. In every table with a `visitor_id`, rows are theirs.

A pseudonym is a visitor's name in exports. Half of it is random; the other half is computed from it and the key. So the
key proves that a name is its visitor's. Pseudonyms reveal neither the key nor, without the key, that two of them belong
to one visitor.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import TypeVar

from sqlalchemy import ColumnElement, Table, delete, func, insert, select, update
from sqlalchemy.orm import Session

from gac_app.errors import NotFoundError, Phrase
from gac_app.storage.database.encryption import destroy_keys
from gac_app.storage.database.tables import Base, VisitorSession, utc_now

T = TypeVar("T")

_HALF = 16  # hexadecimal digits of a pseudonym
_IMPORTED = "imported:"  # followed by a pseudonym, in place of the hash of an unknown key


def hash_key(visitor_key: str) -> str:
    """The hash of a visitor's key; the key itself is not stored. With over 100 random bits, it needs no salt."""
    if not visitor_key:
        raise NotFoundError(Phrase("The browser sent no visitor key. Allow storage for this page and reload it."))
    return hashlib.sha256(visitor_key.encode("utf-8", "surrogatepass")).hexdigest()


def existing(row: T | None, missing: str) -> T:
    """A row that was asked for. Raises NotFoundError, with that message, if there is none, or none of the visitor's."""
    if row is None:
        raise NotFoundError(missing)
    return row


def is_visitor(visitor_key: str) -> ColumnElement[bool]:
    """Whether a `VisitorSession` has this key."""
    return VisitorSession.key_hash == hash_key(visitor_key)


def own_visitor(session: Session, visitor_key: str) -> VisitorSession:
    """The visitor with that key, created if missing."""
    visitor = _find(session, visitor_key)
    if visitor is None:
        adopt(session, visitor_key)
        visitor = _find(session, visitor_key)
    if visitor is None:
        visitor = VisitorSession(key_hash=hash_key(visitor_key), pseudonym=new_pseudonym(visitor_key))
        session.add(visitor)
        session.flush()
    return visitor


def adopt(session: Session, visitor_key: str) -> None:
    """Give a visitor what was imported of them, which their key proves by the pseudonym."""
    for imported_id in imported_of(session, visitor_key):
        is_it, visitor = VisitorSession.id == imported_id, _find(session, visitor_key)
        if visitor is None:
            session.execute(update(VisitorSession).where(is_it).values(key_hash=hash_key(visitor_key)))
            continue
        for table in _owned_tables():
            _move(session, table, imported_id, visitor.id)
        session.execute(delete(VisitorSession).where(is_it))


def imported_of(session: Session, visitor_key: str, after: int = 0) -> list[int]:
    """The ids, above `after`, of what was imported of a visitor. Each takes a hash."""
    imported = select(VisitorSession.id, VisitorSession.pseudonym).where(VisitorSession.key_hash.startswith(_IMPORTED))
    rows = session.execute(imported.where(VisitorSession.id > after))
    return [id_ for id_, pseudonym in rows if is_pseudonym_of(visitor_key, pseudonym)]


def newest_id(session: Session) -> int:
    """The id of the visitor that came last; ids only grow."""
    return session.scalar(select(func.max(VisitorSession.id))) or 0


def _move(session: Session, table: Table, old_id: int, new_id: int) -> None:
    """Give a visitor's rows to another. Rows that are read by their number get new ones, as all that change do."""
    is_old = table.c.visitor_id == old_id
    if "number" not in table.c:
        session.execute(update(table).where(is_old).values(visitor_id=new_id))
        return
    columns = [column for column in table.c if column.name not in ("number", "visitor_id")]
    names = [column.name for column in columns]
    found = session.execute(select(*columns).where(is_old)).all()
    rows = [{**dict(zip(names, row, strict=True)), "visitor_id": new_id} for row in found]
    session.execute(delete(table).where(is_old))
    if rows:
        session.execute(insert(table), rows)


def imported_visitors(session: Session, pseudonyms: Iterable[str]) -> dict[str, int]:
    """The ids of visitors of another database, by pseudonym; created if missing."""
    wanted = set(pseudonyms)
    query = select(VisitorSession.pseudonym, VisitorSession.id).where(VisitorSession.pseudonym.in_(wanted))
    found = dict(session.execute(query).tuples().all())
    if missing := sorted(wanted - found.keys()):
        now = utc_now()
        added = [{"key_hash": f"{_IMPORTED}{name}"[:64], "pseudonym": name, "created_at": now} for name in missing]
        session.execute(insert(VisitorSession), added)
        found = dict(session.execute(query).tuples().all())
    return found


def delete_visitor(session: Session, visitor_key: str) -> None:
    """Delete a visitor with all rows, whose keys are destroyed where the row itself names one."""
    visitor_id = select(VisitorSession.id).where(is_visitor(visitor_key)).scalar_subquery()
    for table in _owned_tables():
        if "key_id" in table.c:
            keys = select(table.c.key_id).where(table.c.visitor_id == visitor_id, table.c.key_id.is_not(None))
            destroy_keys(session, keys)
    session.execute(delete(VisitorSession).where(is_visitor(visitor_key)))


def new_pseudonym(visitor_key: str) -> str:
    """A new pseudonym; a different one at each call."""
    drawn = secrets.token_hex(_HALF // 2)
    return drawn + _proof(visitor_key, drawn)


def is_pseudonym_of(visitor_key: str, pseudonym: str) -> bool:
    """Whether a pseudonym belongs to the visitor with this key."""
    drawn, proof = pseudonym[:_HALF], pseudonym[_HALF:]
    return hmac.compare_digest(proof.encode(), _proof(visitor_key, drawn).encode())


def _proof(visitor_key: str, drawn: str) -> str:
    key = visitor_key.encode("utf-8", "surrogatepass")
    return hmac.new(key, drawn.encode(), hashlib.sha256).hexdigest()[:_HALF]


def _find(session: Session, visitor_key: str) -> VisitorSession | None:
    return session.scalar(select(VisitorSession).where(is_visitor(visitor_key)))


def _owned_tables() -> list[Table]:
    return [table for table in Base.metadata.sorted_tables if "visitor_id" in table.c]
