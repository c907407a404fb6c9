"""Answers keep the digest of their steps, and runs which run they repeat."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("answer", sa.Column("digest", sa.String(length=64), server_default="", nullable=False))
    op.add_column("answer", sa.Column("is_reproducible", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("run", sa.Column("repeats_run_id", sa.String(length=32), nullable=True))
