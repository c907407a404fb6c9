"""Battles name the server on which they can still be judged."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("battle", sa.Column("server_id", sa.String(length=32), nullable=True))
    op.create_index(op.f("ix_battle_server_id"), "battle", ["server_id"])
