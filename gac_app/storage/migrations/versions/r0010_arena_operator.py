"""Battles and votes have a hash of their address, which changes daily; what the operator of an arena has set."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("battle", "standing_vote"):
        op.add_column(table, sa.Column("client", sa.String(length=24), server_default="", nullable=False))
    op.create_table(
        "arena_controls",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_arena_controls")),
    )
