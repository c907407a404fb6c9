"""Databases for tests: the schema is made once in a process and copied."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from gac_app.storage import Store


def database_in(path: Path) -> str:
    """The URL of a SQLite file; a new one has today's schema and no rows."""
    if not path.exists():
        path.write_bytes(_empty())
    return f"sqlite:///{path}"


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "empty.db")
        Store(f"sqlite:///{path}").close()
        return path.read_bytes()


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """What is executed within the block, but for the beginnings of transactions."""
    told = list[str]()

    def note(*context: Any) -> None:
        told.extend([] if context[2].startswith("BEGIN") else [context[2]])

    event.listen(engine, "before_cursor_execute", note)
    yield told
    event.remove(engine, "before_cursor_execute", note)


def sql(path: Path, statement: str, *values: Any) -> list[Any]:
    """Run a statement on a SQLite file past the store; its rows."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()
