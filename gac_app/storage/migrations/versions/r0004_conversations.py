"""Conversations can be named, the name sealed with a key of its own, and starred; runs can be shared."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("conversation", sa.Column("name", sa.LargeBinary(), nullable=True))
    op.add_column("conversation", sa.Column("key_id", sa.Integer(), nullable=True))
    op.add_column("conversation", sa.Column("is_starred", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("run", sa.Column("is_shared", sa.Boolean(), server_default=sa.false(), nullable=False))
