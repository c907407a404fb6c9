"""What was deleted stays deleted, whatever a mirror's files hold."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0004", "0003", None, None


def upgrade() -> None:
    op.create_table(
        "tombstone", sa.Column("id", sa.String(32), nullable=False), sa.PrimaryKeyConstraint("id", name="pk_tombstone")
    )
