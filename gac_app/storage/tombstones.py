"""Ids of deleted runs and battles, which no import brings back.

A mirror's files and exports may still hold them: a mirror's folder can be away while something is deleted, and its
files are never rewritten. So a tombstone stays.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from gac_app.storage.database.tables import ID, Base


class Tombstone(Base):
    """The id of a deleted run or battle."""

    __tablename__ = "tombstone"

    id: Mapped[str] = mapped_column(ID, primary_key=True)


def bury(session: Session, ids: Collection[str]) -> None:
    """Write tombstones, in the transaction of the deletion; or of what a mirror's files say was deleted."""
    if new := set(ids) - buried(session, ids):
        session.execute(insert(Tombstone), [{"id": one} for one in sorted(new)])


def buried(session: Session, among: Collection[str] | None = None) -> set[str]:
    """The ids that have tombstones: all of them, or those `among` some."""
    query = select(Tombstone.id)
    return set(session.scalars(query if among is None else query.where(Tombstone.id.in_(among))))
