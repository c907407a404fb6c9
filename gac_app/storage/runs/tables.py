"""The tables of runs. Every change here needs a revision in `migrations/versions`; a test compares the two."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, foreign, mapped_column, relationship

from gac_app.storage.database.tables import ID, Base, RunKey, VisitorSession, new_id, utc_now


class Conversation(Base):
    """The ordered runs of one chat. Its name, if any, is encrypted with its own key."""

    __tablename__ = "conversation"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    visitor_id: Mapped[int] = mapped_column(ForeignKey("visitor_session.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    name: Mapped[bytes | None] = mapped_column(LargeBinary)
    key_id: Mapped[int | None]
    is_starred: Mapped[bool] = mapped_column(server_default=false())
    visitor: Mapped[VisitorSession] = relationship()


class Run(Base):
    """One prompt answered by every member alone and by the ensemble.

    `body` is encrypted JSON: prompt, settings, member_names, versions, seeds of single streams, and turn_ids, the
    earlier runs that it continues. Their text is looked up when needed, so deleting a turn removes it from all later
    runs.
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
    """The answer of one member alone, or of the ensemble. `body` is encrypted JSON: text, detail,
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
    """Every step of an answer (see `traces`), encrypted. A separate table keeps lists fast."""

    __tablename__ = "trace"

    answer_id: Mapped[str] = mapped_column(ForeignKey("answer.id", ondelete="CASCADE"), primary_key=True)
    steps: Mapped[bytes] = mapped_column(LargeBinary)


class Outline(Base):
    """What is drawn of every step of an answer (see `traces`), encrypted."""

    __tablename__ = "outline"

    answer_id: Mapped[str] = mapped_column(ForeignKey("answer.id", ondelete="CASCADE"), primary_key=True)
    steps: Mapped[bytes] = mapped_column(LargeBinary)


class Vote(Base):
    """The preference of a run's owner; one per run. `body` is the outcome, encrypted."""

    __tablename__ = "vote"

    run_id: Mapped[str] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
