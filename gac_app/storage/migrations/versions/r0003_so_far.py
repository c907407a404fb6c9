"""Other servers see what is answered grow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0003", "0002", None, None


def upgrade() -> None:
    for table in ("run", "battle"):
        op.add_column(table, sa.Column("so_far", sa.LargeBinary))
