"""A battle has one remark. Earlier ones, which up to this version stayed, are deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "0009", "0008", None, None

_JUDGEMENT = sa.table("judgement", *map(sa.column, ("id", "battle_id", "position", "kind")))


def upgrade() -> None:
    connection = op.get_bind()
    column, is_remark = _JUDGEMENT.c, _JUDGEMENT.c.kind == "remark"
    with_several = sa.select(column.battle_id).where(is_remark).group_by(column.battle_id).having(sa.func.count() > 1)
    for battle_id in connection.scalars(with_several).all():
        own = sa.select(_JUDGEMENT).where(column.battle_id == battle_id).order_by(column.position)
        rows = connection.execute(own).all()
        last = max(row.position for row in rows if row.kind == "remark")
        kept = [row for row in rows if row.kind != "remark" or row.position == last]
        gone = {row.id for row in rows} - {row.id for row in kept}
        connection.execute(_JUDGEMENT.delete().where(column.id.in_(gone)))
        for position, row in enumerate(kept):
            connection.execute(_JUDGEMENT.update().where(column.id == row.id).values(position=position))
