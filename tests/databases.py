"""Databases for tests: the schema is made once in a process and copied."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

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


def sql(path: Path, statement: str, *values: Any) -> list[Any]:
    """Run a statement on a SQLite file past the store; its rows."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()
