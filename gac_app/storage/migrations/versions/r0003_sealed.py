"""What visitors wrote and read is sealed with a key per run; runs name their turns and who runs them.

Turns were copied into the messages of later ones. Those that are still there are found again by their text; what was
deleted is gone with the copies.
"""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gac_app.storage.database.engine import MUST_REWRITE
from gac_app.storage.database.sealing import seal, seal_json

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_Earlier = list[tuple[str, str, str | None]]
_RUNS = """SELECT id, prompt, settings, member_names, versions FROM run
           WHERE conversation_id = :conversation ORDER BY position"""
_ANSWERS = """SELECT id, is_ensemble, messages, text, detail, members FROM answer
              WHERE run_id = :run ORDER BY is_ensemble DESC"""


def upgrade() -> None:
    op.create_table(
        "run_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("is_used", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_key")),
    )
    on_sqlite, on_postgres = sa.text("is_used = 0"), sa.text("NOT is_used")
    op.create_index("ix_run_key_free", "run_key", ["id"], sqlite_where=on_sqlite, postgresql_where=on_postgres)
    op.create_table(
        "server",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_s", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server")),
    )
    for table in ("run", "answer", "vote"):
        op.add_column(table, sa.Column("body", sa.LargeBinary(), server_default=sa.text("''"), nullable=False))
    op.add_column("run", sa.Column("key_id", sa.Integer(), server_default="0", nullable=False))
    op.add_column("run", sa.Column("server_id", sa.String(length=32), nullable=True))
    connection = op.get_bind()
    for (conversation,) in connection.execute(sa.text("SELECT id FROM conversation")).all():
        _seal_conversation(connection, conversation)
    for table, columns in {
        "run": ("prompt", "settings", "member_names", "versions"),
        "answer": ("messages", "text", "detail", "members"),
        "vote": ("outcome",),
    }.items():
        for column in columns:
            op.drop_column(table, column)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA user_version={MUST_REWRITE}")


def _seal_conversation(connection: sa.Connection, conversation: str) -> None:
    earlier: _Earlier = []  # (id, prompt, text of the first answer), in order
    for run in connection.execute(sa.text(_RUNS), {"conversation": conversation}).all():
        answers = connection.execute(sa.text(_ANSWERS), {"run": run.id}).all()
        key = AESGCM.generate_key(256)
        key_id = connection.execute(
            sa.text("INSERT INTO run_key (key, is_used) VALUES (:key, :yes) RETURNING id"), {"key": key, "yes": True}
        ).scalar_one()
        content = {
            "prompt": run.prompt,
            "settings": run.settings,
            "member_names": run.member_names,
            "versions": run.versions,
            "turn_ids": _turn_ids(earlier, answers),
        }
        _update(connection, "run", "id", run.id, body=_sealed(key, content), key_id=key_id)
        for answer in answers:
            content = {"text": answer.text, "detail": answer.detail, "members": answer.members}
            _update(connection, "answer", "id", answer.id, body=_sealed(key, content))
            _seal_column(connection, key, "trace", ("answer_id", answer.id), "steps", "steps")
        _seal_column(connection, key, "vote", ("run_id", run.id), "outcome", "body")
        earlier.append((run.id, run.prompt, answers[0].text if answers else None))


def _turn_ids(earlier: _Earlier, answers: Sequence[sa.Row[Any]]) -> list[str]:
    """The earlier runs whose prompt and answer stand in what a run was fed; all of them, where it never answered."""
    if not answers:
        return [run_id for run_id, _, _ in earlier]
    try:
        fed = _value(answers[0].messages)
        said = [message["content"] for message in fed if message["role"] != "system"]
    except (LookupError, TypeError, ValueError):  # damaged
        return []
    pairs = list(zip(said, said[1:], strict=False))
    return [run_id for run_id, prompt, text in earlier if (prompt, text) in pairs]


def _value(column: Any) -> Any:
    """JSON as the drivers give it: parsed by Postgres's, text by SQLite's. Raises ValueError if it is damaged."""
    return json.loads(column) if isinstance(column, str | bytes) else column


def _sealed(key: bytes, content: dict[str, Any]) -> bytes:
    """Empty where the old row was damaged, so that it stays so."""
    plain = ("prompt", "text", "detail", "turn_ids")
    try:
        return seal_json(key, {name: item if name in plain else _value(item) for name, item in content.items()})
    except ValueError:
        return b""


def _seal_column(
    connection: sa.Connection, key: bytes, table: str, where: tuple[str, str], source: str, target: str
) -> None:
    name, value = where
    query = sa.text(f"SELECT {source} FROM {table} WHERE {name} = :value")  # noqa: S608
    found = connection.execute(query, {"value": value}).scalar()
    if found is not None:
        data = found.encode() if isinstance(found, str) else bytes(found)
        _update(connection, table, name, value, **{target: seal(key, data)})


def _update(connection: sa.Connection, table: str, name: str, value: str, **columns: Any) -> None:
    parts = ", ".join(f"{column} = :{column}" for column in columns)
    query = sa.text(f"UPDATE {table} SET {parts} WHERE {name} = :value")  # noqa: S608
    connection.execute(query, {"value": value, **columns})
