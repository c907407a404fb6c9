"""Databases for tests: the schema is made once in a process and copied."""

from __future__ import annotations

import resource
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from gac_app.storage import Store, upgrade


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


@contextmanager
def locked(path: Path) -> Iterator[Callable[[], object]]:
    """Another's writing transaction, until the end or until the yielded function is called."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield lambda: connection.execute("ROLLBACK")


@contextmanager
def full_disk(num_bytes: int) -> Iterator[None]:
    """Within, no file of this process grows beyond so many bytes; SQLite fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def sql(path: Path, statement: str, *values: Any) -> list[Any]:
    """Run a statement on a SQLite file past the store; its rows."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def heads_of_three(url: str) -> set[str]:
    """The schemas that three servers find which start at once."""
    together = threading.Barrier(3)

    def start() -> str:
        together.wait(60)
        return upgrade(url)

    with ThreadPoolExecutor() as pool:
        return {started.result(60) for started in [pool.submit(start) for _ in range(3)]}
