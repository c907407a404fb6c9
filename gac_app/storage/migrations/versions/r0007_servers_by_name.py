"""A server is known by its name, from one start to the next. What servers of before were answering is interrupted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0007", "0006", None, None


def upgrade() -> None:
    op.drop_table("server")
    op.create_table(
        "server",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_server"),
        sa.UniqueConstraint("name", name="uq_server_name"),
    )
    op.execute("UPDATE run SET status = 'interrupted', finished_at = created_at WHERE status = 'running'")
    op.execute("UPDATE battle SET server_id = NULL")
