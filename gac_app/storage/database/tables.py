"""The tables. Every change here needs a migration appended in `migrations/versions`; a test compares the two."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, foreign, mapped_column, relationship

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
        process = super().result_processor(dialect, coltype) or self._as_it_is

        def process_any(value: Any) -> datetime | None:
            try:
                return process(value)
            except (TypeError, ValueError):
                return datetime.min.replace(tzinfo=UTC)

        return process_any

    @staticmethod
    def _as_it_is(value: datetime | None) -> datetime | None:
        return value

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


class Conversation(Base):
    """The ordered runs of one chat. Its name, if any, is sealed with its own key."""

    __tablename__ = "conversation"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    visitor_id: Mapped[int] = mapped_column(ForeignKey("visitor_session.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    name: Mapped[bytes | None] = mapped_column(LargeBinary)
    key_id: Mapped[int | None]
    is_starred: Mapped[bool] = mapped_column(server_default=false())
    visitor: Mapped[VisitorSession] = relationship()


class Server(Base):
    """A process that runs models, and owns its runs while it is alive; see `servers`."""

    __tablename__ = "server"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    started_s: Mapped[float]  # the process's start, seconds since 1970, since process ids are reused
    seen_at: Mapped[datetime]


class RunKey(Base):
    """The keys of runs and of conversations' names; see `sealing` for why a row is never deleted."""

    __tablename__ = "run_key"
    __table_args__ = (
        Index("ix_run_key_free", "id", sqlite_where=text("is_used = 0"), postgresql_where=text("NOT is_used")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary)
    is_used: Mapped[bool]


class Run(Base):
    """One prompt answered by every member alone and by the ensemble.

    `body` is sealed JSON: prompt, settings, member_names, versions, seeds of single streams, and turn_ids, the earlier
    runs that it continues. Their text is looked up when needed, so deleting a turn removes it from all later runs.
    """

    __tablename__ = "run"
    __table_args__ = (UniqueConstraint("conversation_id", "position"), Index(None, "created_at", "id"))

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"))
    position: Mapped[int]
    parent_run_id: Mapped[str | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"), index=True)
    branch_position: Mapped[int | None]
    repeats_run_id: Mapped[str | None] = mapped_column(ID)  # may be deleted: SQLite cannot add a foreign key
    key_id: Mapped[int]  # none here either
    server_id: Mapped[str | None] = mapped_column(ID)  # the server that runs it; empty once it is over
    body: Mapped[bytes] = mapped_column(LargeBinary)
    config_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16), index=True)
    is_shared: Mapped[bool] = mapped_column(server_default=false())  # anybody who knows its id may read it
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    finished_at: Mapped[datetime | None]
    conversation: Mapped[Conversation] = relationship()
    key: Mapped[RunKey] = relationship(primaryjoin=lambda: foreign(Run.key_id) == RunKey.id, viewonly=True)
    answers: Mapped[list[Answer]] = relationship(viewonly=True)
    vote: Mapped[Vote | None] = relationship(viewonly=True)


class Answer(Base):
    """The answer of one member alone, or of the ensemble. `body` is sealed JSON: text, detail,
    members, num_replayed.
    """

    __tablename__ = "answer"
    __table_args__ = (UniqueConstraint("run_id", "is_ensemble", "system"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    system: Mapped[str] = mapped_column(String(255))
    is_ensemble: Mapped[bool]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    num_tokens: Mapped[int]
    num_ensembled: Mapped[int]
    ttft_s: Mapped[float]
    seconds: Mapped[float]
    finish_reason: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), server_default="")
    is_reproducible: Mapped[bool] = mapped_column(server_default=false())
    trace: Mapped[Trace | None] = relationship(passive_deletes="all")
    outline: Mapped[Outline | None] = relationship(passive_deletes="all")


class Trace(Base):
    """Every step of an answer (see `traces`), sealed. A separate table keeps lists fast."""

    __tablename__ = "trace"

    answer_id: Mapped[str] = mapped_column(ForeignKey("answer.id", ondelete="CASCADE"), primary_key=True)
    steps: Mapped[bytes] = mapped_column(LargeBinary)


class Outline(Base):
    """What is drawn of every step of an answer (see `traces`), sealed."""

    __tablename__ = "outline"

    answer_id: Mapped[str] = mapped_column(ForeignKey("answer.id", ondelete="CASCADE"), primary_key=True)
    steps: Mapped[bytes] = mapped_column(LargeBinary)


class Vote(Base):
    """The preference of a run's owner; one per run. `body` is the outcome, sealed."""

    __tablename__ = "vote"

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Study(Base):
    """The result of a visitor's study. `head` is sealed JSON for lists; `body` is zlib over JSON, sealed."""

    __tablename__ = "study"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    visitor_id: Mapped[int] = mapped_column(ForeignKey("visitor_session.id", ondelete="CASCADE"), index=True)
    key_id: Mapped[int]
    head: Mapped[bytes] = mapped_column(LargeBinary)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Battle(Base):
    """Two contestants' answers to the same prompts. `left` and `right` are their names.

    `body` is sealed JSON: each side's settings, messages and answers, turn by turn. A battle implied by a vote on a run
        is sealed with that run's key, and is deleted with it.
    """

    __tablename__ = "battle"
    __table_args__ = (Index(None, "created_at", "id"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    visitor_id: Mapped[int] = mapped_column(ForeignKey("visitor_session.id", ondelete="CASCADE"), index=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    key_id: Mapped[int]
    server_id: Mapped[str | None] = mapped_column(ID, index=True)  # that can judge it; None = it cannot be judged
    origin: Mapped[str] = mapped_column(String(16))
    is_blind: Mapped[bool]
    left: Mapped[str] = mapped_column(String(80))
    right: Mapped[str] = mapped_column(String(80))
    language: Mapped[str] = mapped_column(String(8))
    config_hash: Mapped[str] = mapped_column(String(64))
    client: Mapped[str] = mapped_column(String(24), server_default="")  # a hash of the address; changes daily
    status: Mapped[str] = mapped_column(String(16))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    visitor: Mapped[VisitorSession] = relationship()
    key: Mapped[RunKey] = relationship(primaryjoin=lambda: foreign(Battle.key_id) == RunKey.id, viewonly=True)
    judgements: Mapped[list[Judgement]] = relationship(viewonly=True, order_by=lambda: Judgement.position)


class ArenaControls(Base):
    """What the operator has set while the server runs: one row at most. `body` is JSON."""

    __tablename__ = "arena_controls"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class Judgement(Base):
    """A vote on a battle, an undo, a remark, or the operator's verdict. Rows are append-only; the last ones count.

    `facts` is JSON of numbers and flags, without any text of the battle. `body` is a remark, sealed JSON.
    """

    __tablename__ = "judgement"
    __table_args__ = (UniqueConstraint("battle_id", "position"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    battle_id: Mapped[str] = mapped_column(ForeignKey("battle.id", ondelete="CASCADE"))
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    outcome: Mapped[str] = mapped_column(String(16), server_default="")
    facts: Mapped[bytes] = mapped_column(LargeBinary)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class StandingVote(Base):
    """A vote that was not taken back, with what leaderboards need of it, so that they read nothing sealed or large.

    Numbers only grow, and a row that changes gets a new one. So whoever has read the rows up to a number reads only
    what came later. `is_flagged`, styles and costs repeat the facts of the judgement.
    """

    __tablename__ = "standing_vote"
    __table_args__ = ({"sqlite_autoincrement": True},)

    number: Mapped[int] = mapped_column(primary_key=True)
    battle_id: Mapped[str] = mapped_column(ForeignKey("battle.id", ondelete="CASCADE"), unique=True)
    visitor_id: Mapped[int] = mapped_column(index=True)
    left: Mapped[str] = mapped_column(String(80))
    right: Mapped[str] = mapped_column(String(80))
    outcome: Mapped[str] = mapped_column(String(16))
    origin: Mapped[str] = mapped_column(String(16))
    language: Mapped[str] = mapped_column(String(8))
    config_hash: Mapped[str] = mapped_column(String(64))
    client: Mapped[str] = mapped_column(String(24), server_default="")
    voted_s: Mapped[float]  # seconds since 1970
    turn: Mapped[int]
    is_flagged: Mapped[bool]
    left_chars: Mapped[int]
    left_headings: Mapped[int]
    left_lists: Mapped[int]
    left_bold: Mapped[int]
    left_ms_per_token: Mapped[float | None]
    left_passes_per_token: Mapped[float | None]
    right_chars: Mapped[int]
    right_headings: Mapped[int]
    right_lists: Mapped[int]
    right_bold: Mapped[int]
    right_ms_per_token: Mapped[float | None]
    right_passes_per_token: Mapped[float | None]
