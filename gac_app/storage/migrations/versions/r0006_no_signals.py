"""A server no longer tells others what it answers."""

from __future__ import annotations

from alembic import op

revision, down_revision, branch_labels, depends_on = "0006", "0005", None, None


def upgrade() -> None:
    op.drop_table("signal")
    for table in ("run", "battle"):
        op.drop_column(table, "so_far")
