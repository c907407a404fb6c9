"""What all tables have in common, and those that belong to no room. Every change of a table needs a revision in
`migrations/versions`; a test compares the two.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import DateTime, Dialect, Double, Index, LargeBinary, MetaData, String, TypeDecorator, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID = String(32)


def new_id() -> str:
    return uuid.uuid4().hex


def utc_now() -> datetime:
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC times; SQLite has no time zones and would give naive ones back.

    A damaged value comes back as the year 1, so that the other rows can still be listed.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        process = super().result_processor(dialect, coltype)
        assert process is not None  # noqa: S101 (there is `process_result_value`)

        def process_any(value: Any) -> datetime | None:
            try:
                return process(value)
            except (TypeError, ValueError):
                return datetime.min.replace(tzinfo=UTC)

        return process_any

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime, float: Double}
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class VisitorSession(Base):
    """One browser. `pseudonym` is its name in exports: random, and equal in every database that imports it."""

    __tablename__ = "visitor_session"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    pseudonym: Mapped[str] = mapped_column(ID, default=new_id, server_default="", index=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class RunKey(Base):
    """The keys of runs and of conversations' names; see `encryption` for why a row is never deleted."""

    __tablename__ = "run_key"
    __table_args__ = (
        Index("ix_run_key_free", "id", sqlite_where=text("is_used = 0"), postgresql_where=text("NOT is_used")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary)
    is_used: Mapped[bool]


class Server(Base):
    """A server by its name: what it answers has its id; see `servers`."""

    __tablename__ = "server"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
