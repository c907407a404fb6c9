"""Walks through long results, oldest first, without a transaction that stays open."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select, and_, or_, type_coerce
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import NullType

from gac_app.storage.database.engine import reading

PAGE = 100


def pages(
    engine: Engine, query: Select[Any], created_at: InstrumentedAttribute[datetime], row_id: InstrumentedAttribute[str]
) -> Iterator[list[str]]:
    """The ids of the query's rows, oldest first, in pages. Rows that come or go meanwhile are no trouble."""
    at = type_coerce(created_at, NullType())  # as it is stored: a damaged time would be read as the year 1
    first = page = query.with_only_columns(at, row_id).order_by(at, row_id).limit(PAGE)
    while True:
        with reading(engine) as session:
            rows = session.execute(page).tuples().all()
        if not rows:
            return
        yield [row[1] for row in rows]
        last_at, last_id = rows[-1]
        page = first.where(or_(at > last_at, and_(at == last_at, row_id > last_id)))
