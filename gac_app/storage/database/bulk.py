"""Writes many rows at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Boolean, LargeBinary, insert
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from gac_app.storage.database.tables import Base


def insert_many(session: Session, kind: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows with equal keys.

    The statement is compiled once and the driver gets the values: `Session.execute` would take longer for each row than
    the database does.
    """
    if not rows:
        return
    table, connection = kind.__table__, session.connection()
    dialect = connection.dialect
    statement = insert(table).compile(dialect=dialect, column_keys=list(rows[0]))  # type: ignore[arg-type]
    names = statement.positiontup or list(rows[0])
    makers = [_maker(table.c[name].type, dialect) for name in names]
    columns = [
        [row[name] for row in rows] if make is None else [make(row[name]) for row in rows]
        for name, make in zip(names, makers, strict=True)
    ]
    values = list(zip(*columns, strict=True))
    if statement.positiontup:
        connection.exec_driver_sql(str(statement), values)
    else:
        connection.exec_driver_sql(str(statement), [dict(zip(names, one, strict=True)) for one in values])


def _maker(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    """What makes a value the driver's; None = it takes the value as it is."""
    return None if isinstance(kind, Boolean | LargeBinary) else kind.dialect_impl(dialect).bind_processor(dialect)
