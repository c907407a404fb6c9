"""Votes that stand have a table of their own, with what leaderboards need in columns."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_SIDES = ("left", "right")
_COUNTS = ("chars", "headings", "lists", "bold")
_COSTS = ("ms_per_token", "passes_per_token")
_MAX_COUNT = 2**31 - 1
_AT_ONCE = 10_000

_FOUND = """
SELECT battle.id, battle.visitor_id, battle."left", battle."right", judgement.outcome, battle.origin,
       battle.language, battle.config_hash, judgement.created_at, judgement.facts
FROM judgement JOIN battle ON battle.id = judgement.battle_id
WHERE judgement.kind = 'vote' AND NOT EXISTS (
    SELECT 1 FROM judgement AS later
    WHERE later.battle_id = judgement.battle_id AND later.position > judgement.position
      AND later.kind IN ('vote', 'undo'))
ORDER BY judgement.created_at, judgement.id
"""


def upgrade() -> None:
    sides = [
        column
        for side in _SIDES
        for column in (
            *(sa.Column(f"{side}_{name}", sa.Integer(), nullable=False) for name in _COUNTS),
            *(sa.Column(f"{side}_{name}", sa.Double(), nullable=True) for name in _COSTS),
        )
    ]
    table = op.create_table(
        "standing_vote",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("battle_id", sa.String(length=32), nullable=False),
        sa.Column("visitor_id", sa.Integer(), nullable=False),
        sa.Column("left", sa.String(length=80), nullable=False),
        sa.Column("right", sa.String(length=80), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=False),
        sa.Column("config_hash", sa.String(length=64), nullable=False),
        sa.Column("voted_s", sa.Double(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("is_flagged", sa.Boolean(), nullable=False),
        *sides,
        sa.ForeignKeyConstraint(
            ["battle_id"], ["battle.id"], name=op.f("fk_standing_vote_battle_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_standing_vote")),
        sa.UniqueConstraint("battle_id", name=op.f("uq_standing_vote_battle_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_standing_vote_visitor_id"), "standing_vote", ["visitor_id"])
    connection = op.get_bind()
    found = connection.execute(sa.text(_FOUND)).all()
    for start in range(0, len(found), _AT_ONCE):
        connection.execute(sa.insert(table), [_row(one) for one in found[start : start + _AT_ONCE]])


def _row(found: Sequence[Any]) -> dict[str, object]:
    battle_id, visitor_id, left, right, outcome, origin, language, config_hash, voted_at, facts = found
    told = json.loads(bytes(facts))
    row: dict[str, object] = {
        "battle_id": battle_id,
        "visitor_id": visitor_id,
        "left": left,
        "right": right,
        "outcome": outcome,
        "origin": origin,
        "language": language,
        "config_hash": config_hash,
        "voted_s": _seconds(voted_at),
        "turn": _count(told.get("turn", 1)),
        "is_flagged": bool(told.get("flags")),
    }
    for side in _SIDES:
        about = told.get(side, {})
        row |= {f"{side}_{name}": _count(about.get(name, 0)) for name in _COUNTS}
        row |= {f"{side}_{name}": _cost(about.get(name)) for name in _COSTS}
    return row


def _seconds(at: object) -> float:
    """Since 1970. SQLite gives text, which may be damaged."""
    try:
        moment = datetime.fromisoformat(str(at))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _count(value: Any) -> int:
    """Earlier versions imported any number."""
    return int(value) if _is_plain(value) else 0


def _cost(value: Any) -> float | None:
    return float(value) if _is_plain(value) else None


def _is_plain(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= _MAX_COUNT  # false for NaN
