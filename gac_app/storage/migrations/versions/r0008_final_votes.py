"""A vote is final, and judges a battle of the Arena. What releases up to 1.1 had beside is deleted: votes that were taken
back, and battles that votes on Compare implied, of which the runs keep the votes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0008", "0007", None, None

_BATTLE = sa.table("battle", sa.column("id"), sa.column("run_id"), sa.column("origin"))
_STANDING = sa.table("standing_vote", sa.column("battle_id"))
_TOMBSTONE = sa.table("tombstone", sa.column("id"))
_JUDGEMENT = sa.table("judgement", *map(sa.column, ("id", "battle_id", "position", "kind")))


def upgrade() -> None:
    connection = op.get_bind()
    implied = sa.select(_BATTLE.c.id).where(sa.or_(_BATTLE.c.run_id.is_not(None), _BATTLE.c.origin == "compare"))
    connection.execute(_TOMBSTONE.insert().from_select(["id"], implied))  # a mirror's files may have their text
    for table in (_STANDING, _JUDGEMENT):
        connection.execute(table.delete().where(table.c.battle_id.in_(implied)))
    connection.execute(_BATTLE.delete().where(_BATTLE.c.id.in_(implied)))
    with_undo = sa.select(_JUDGEMENT.c.battle_id).where(_JUDGEMENT.c.kind == "undo").distinct()
    for battle_id in connection.scalars(with_undo).all():
        _take_out(connection, battle_id)


def _take_out(connection: sa.Connection, battle_id: str) -> None:
    """Delete a battle's undos and the votes before them, and number the other rows anew."""
    own = sa.select(_JUDGEMENT).where(_JUDGEMENT.c.battle_id == battle_id).order_by(_JUDGEMENT.c.position)
    rows = connection.execute(own).all()
    last_undo = max(at for at, row in enumerate(rows) if row.kind == "undo")
    kept = [row for at, row in enumerate(rows) if row.kind != "undo" and (row.kind != "vote" or at > last_undo)]
    gone = {row.id for row in rows} - {row.id for row in kept}
    connection.execute(_JUDGEMENT.delete().where(_JUDGEMENT.c.id.in_(gone)))
    for position, row in enumerate(kept):
        connection.execute(_JUDGEMENT.update().where(_JUDGEMENT.c.id == row.id).values(position=position))
