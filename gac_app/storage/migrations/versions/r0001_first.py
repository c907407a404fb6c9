"""The first schema. Later changes are revisions of their own."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
_ID, _DATA, _TIME = sa.String(32), sa.LargeBinary(), sa.DateTime(timezone=True)


def upgrade() -> None:
    metadata = sa.MetaData(naming_convention=_NAMES)
    _make_shared_tables(metadata)
    _make_run_tables(metadata)
    _make_battle_tables(metadata)
    metadata.create_all(op.get_bind(), checkfirst=False)


def _column(name: str, kind: Any, *parts: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, *parts, **{"nullable": False, **options})


def _of(table: str, on_delete: str = "CASCADE") -> sa.ForeignKey:
    return sa.ForeignKey(f"{table}.id", ondelete=on_delete)


def _make_shared_tables(metadata: sa.MetaData) -> None:
    sa.Table(
        "visitor_session",
        metadata,
        _column("id", sa.Integer, primary_key=True),
        _column("key_hash", sa.String(64), unique=True),
        _column("pseudonym", _ID, server_default="", index=True),
        _column("created_at", _TIME),
        sqlite_autoincrement=True,
    )
    sa.Table(
        "run_key",
        metadata,
        _column("id", sa.Integer, primary_key=True),
        _column("key", _DATA),
        _column("is_used", sa.Boolean),
        sa.Index(
            "ix_run_key_free", "id", sqlite_where=sa.text("is_used = 0"), postgresql_where=sa.text("NOT is_used")
        ),
    )
    sa.Table(
        "server",
        metadata,
        _column("id", _ID, primary_key=True),
        _column("host", sa.String(255)),
        _column("pid", sa.Integer),
        _column("started_s", sa.Double),
        _column("seen_at", _TIME),
    )
    sa.Table(
        "study",
        metadata,
        _column("id", _ID, primary_key=True),
        _column("visitor_id", sa.Integer, _of("visitor_session"), index=True),
        _column("key_id", sa.Integer),
        _column("head", _DATA),
        _column("body", _DATA),
        _column("created_at", _TIME),
    )


def _make_run_tables(metadata: sa.MetaData) -> None:
    sa.Table(
        "conversation",
        metadata,
        _column("id", _ID, primary_key=True),
        _column("visitor_id", sa.Integer, _of("visitor_session"), index=True),
        _column("created_at", _TIME),
        _column("name", _DATA, nullable=True),
        _column("key_id", sa.Integer, nullable=True),
        _column("is_starred", sa.Boolean, server_default=sa.false()),
    )
    sa.Table(
        "run",
        metadata,
        _column("id", _ID, primary_key=True),
        _column("conversation_id", _ID, _of("conversation")),
        _column("position", sa.Integer),
        _column("parent_run_id", _ID, _of("run", "SET NULL"), nullable=True, index=True),
        _column("branch_position", sa.Integer, nullable=True),
        _column("repeats_run_id", _ID, nullable=True),
        _column("key_id", sa.Integer),
        _column("server_id", _ID, nullable=True),
        _column("body", _DATA),
        _column("config_hash", sa.String(64)),
        _column("status", sa.String(16), index=True),
        _column("is_shared", sa.Boolean, server_default=sa.false()),
        _column("created_at", _TIME),
        _column("finished_at", _TIME, nullable=True),
        sa.UniqueConstraint("conversation_id", "position"),
        sa.Index(None, "created_at", "id"),
    )
    sa.Table(
        "answer",
        metadata,
        _column("id", _ID, primary_key=True),
        _column("run_id", _ID, _of("run")),
        _column("system", sa.String(255)),
        _column("is_ensemble", sa.Boolean),
        _column("body", _DATA),
        _column("num_tokens", sa.Integer),
        _column("num_ensembled", sa.Integer),
        _column("ttft_s", sa.Double),
        _column("seconds", sa.Double),
        _column("finish_reason", sa.String(16)),
        _column("digest", sa.String(64), server_default=""),
        _column("is_reproducible", sa.Boolean, server_default=sa.false()),
        sa.UniqueConstraint("run_id", "is_ensemble", "system"),
    )
    for name in ("trace", "outline"):
        sa.Table(name, metadata, _column("answer_id", _ID, _of("answer"), primary_key=True), _column("steps", _DATA))
    sa.Table(
        "vote",
        metadata,
        _column("run_id", _ID, _of("run"), primary_key=True),
        _column("body", _DATA),
        _column("created_at", _TIME),
    )


def _make_battle_tables(metadata: sa.MetaData) -> None:
    sa.Table(
        "battle",
        metadata,
        _column("id", _ID, primary_key=True),
        _column("visitor_id", sa.Integer, _of("visitor_session"), index=True),
        _column("run_id", _ID, _of("run"), nullable=True, index=True),
        _column("key_id", sa.Integer),
        _column("server_id", _ID, nullable=True, index=True),
        _column("origin", sa.String(16)),
        _column("is_blind", sa.Boolean),
        _column("left", sa.String(80)),
        _column("right", sa.String(80)),
        _column("language", sa.String(8)),
        _column("config_hash", sa.String(64)),
        _column("client", sa.String(24), server_default=""),
        _column("status", sa.String(16)),
        _column("has_consent", sa.Boolean),
        _column("body", _DATA),
        _column("created_at", _TIME),
        sa.Index(None, "created_at", "id"),
    )
    sa.Table(
        "arena_controls",
        metadata,
        _column("id", sa.Integer, primary_key=True),
        _column("body", _DATA),
    )
    sa.Table(
        "judgement",
        metadata,
        _column("id", _ID, primary_key=True),
        _column("battle_id", _ID, _of("battle")),
        _column("position", sa.Integer),
        _column("kind", sa.String(16)),
        _column("outcome", sa.String(16), server_default=""),
        _column("facts", _DATA),
        _column("body", _DATA, nullable=True),
        _column("created_at", _TIME),
        sa.UniqueConstraint("battle_id", "position"),
    )
    counts = ("chars", "headings", "lists", "bold")
    costs = ("ms_per_token", "passes_per_token")
    sa.Table(
        "standing_vote",
        metadata,
        _column("number", sa.Integer, primary_key=True),
        _column("battle_id", _ID, _of("battle"), unique=True),
        _column("visitor_id", sa.Integer, index=True),
        _column("left", sa.String(80)),
        _column("right", sa.String(80)),
        _column("outcome", sa.String(16)),
        _column("origin", sa.String(16)),
        _column("language", sa.String(8)),
        _column("config_hash", sa.String(64)),
        _column("client", sa.String(24), server_default=""),
        _column("voted_s", sa.Double),
        _column("turn", sa.Integer),
        _column("is_flagged", sa.Boolean),
        *(
            column
            for side in ("left", "right")
            for column in (
                *(_column(f"{side}_{name}", sa.Integer) for name in counts),
                *(_column(f"{side}_{name}", sa.Double, nullable=True) for name in costs),
            )
        ),
        sqlite_autoincrement=True,
    )
