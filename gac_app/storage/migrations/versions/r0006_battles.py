"""Battles of the arena and their judgements; visitors have a pseudonym that databases share."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "visitor_session", sa.Column("pseudonym", sa.String(length=32), server_default="", nullable=False)
    )
    connection = op.get_bind()
    for (visitor_id,) in connection.execute(sa.text("SELECT id FROM visitor_session")).all():
        name = sa.text("UPDATE visitor_session SET pseudonym = :name WHERE id = :id")
        connection.execute(name, {"name": uuid.uuid4().hex, "id": visitor_id})
    op.create_index(op.f("ix_visitor_session_pseudonym"), "visitor_session", ["pseudonym"])
    op.create_table(
        "battle",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("visitor_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(length=32), nullable=True),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("is_blind", sa.Boolean(), nullable=False),
        sa.Column("left", sa.String(length=80), nullable=False),
        sa.Column("right", sa.String(length=80), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("config_hash", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["visitor_id"], ["visitor_session.id"], name=op.f("fk_battle_visitor_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_battle_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_battle")),
    )
    op.create_index(op.f("ix_battle_visitor_id"), "battle", ["visitor_id"])
    op.create_index(op.f("ix_battle_run_id"), "battle", ["run_id"])
    op.create_index(op.f("ix_battle_created_at_id"), "battle", ["created_at", "id"])
    op.create_table(
        "judgement",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("battle_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), server_default="", nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["battle_id"], ["battle.id"], name=op.f("fk_judgement_battle_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judgement")),
        sa.UniqueConstraint("battle_id", "position", name=op.f("uq_judgement_battle_id_position")),
    )
