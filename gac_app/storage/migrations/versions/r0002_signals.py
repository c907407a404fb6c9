"""Servers ask each other to stop, or to go on with, what they answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0002", "0001", None, None


def upgrade() -> None:
    op.create_table(
        "signal",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("server_id", sa.String(32), nullable=False),
        sa.Column("subject_id", sa.String(32), nullable=False),
        sa.Column("wish", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_signal"),
    )
    op.create_index("ix_signal_server_id", "signal", ["server_id"])
