"""The tables of battles. Every change here needs a revision in `migrations/versions`; a test compares the two."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, foreign, mapped_column, relationship

from gac_app.storage.database.tables import ID, Base, RunKey, VisitorSession, new_id, utc_now


class Battle(Base):
    """Two contestants' answers to the same prompts. `left` and `right` are their names.

    `body` is encrypted JSON: each side's settings, messages and answers, turn by turn.
    """

    __tablename__ = "battle"
    __table_args__ = (Index(None, "created_at", "id"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    visitor_id: Mapped[int] = mapped_column(ForeignKey("visitor_session.id", ondelete="CASCADE"), index=True)
    run_id: Mapped[str | None] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)  # unused
    key_id: Mapped[int]
    server_id: Mapped[str | None] = mapped_column(ID, index=True)  # that judges it; None = it cannot be judged
    origin: Mapped[str] = mapped_column(String(16))
    is_blind: Mapped[bool]
    left: Mapped[str] = mapped_column(String(80))
    right: Mapped[str] = mapped_column(String(80))
    language: Mapped[str] = mapped_column(String(8))
    config_hash: Mapped[str] = mapped_column(String(64))
    client: Mapped[str] = mapped_column(String(24), server_default="")  # two keyed hashes of the address
    status: Mapped[str] = mapped_column(String(16))
    has_consent: Mapped[bool]  # to publication; in `body` too
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    visitor: Mapped[VisitorSession] = relationship()
    key: Mapped[RunKey] = relationship(primaryjoin=lambda: foreign(Battle.key_id) == RunKey.id, viewonly=True)
    judgements: Mapped[list[Judgement]] = relationship(viewonly=True, order_by=lambda: Judgement.position)


class ClientKey(Base):
    """A key by which addresses are named in two periods; see `services.queue.shares`. Deleted after these."""

    __tablename__ = "client_key"

    period: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    key: Mapped[bytes] = mapped_column(LargeBinary)


class ArenaControls(Base):
    """What the operator has set while the server runs: one row at most. `body` is JSON."""

    __tablename__ = "arena_controls"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class Judgement(Base):
    """A vote on a battle, a remark, or the operator's verdict. Rows are append-only; the last ones count.

    `facts` is JSON of numbers and flags, without any text of the battle. `body` is a remark, encrypted JSON.
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
    """A vote that the operator has not dropped, with what leaderboards need of it, so that they read nothing large.

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
