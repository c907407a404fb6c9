from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from gac_app.errors import StorageError
from gac_app.storage import Store, current_revision, upgrade
from gac_app.storage.tables import Base

DIE_HALFWAY = """
import os, signal, sys
from sqlalchemy import Engine, event
from gac_app.storage import upgrade

@event.listens_for(Engine, "after_cursor_execute")
def die(connection, cursor, statement, *rest):
    if "CREATE TABLE answer" in statement:
        os.kill(os.getpid(), signal.SIGKILL)

upgrade(sys.argv[1])
"""


def tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return names


def test_from_nothing_and_again(url: str, path: Path) -> None:
    assert current_revision(url) is None
    assert not path.exists(), "asking must not make a file"
    head = upgrade(url)
    assert current_revision(url) == head
    before = path.read_bytes()
    assert upgrade(url) == head
    assert path.read_bytes() == before


def test_folders_are_made_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "gac.db"
    upgrade(f"sqlite:///{path}")
    assert path.stat().st_mode & 0o077 == 0


def test_migrations_make_the_tables_that_the_code_knows(url: str) -> None:
    upgrade(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_a_newer_schema_is_refused_and_left_alone(url: str, path: Path) -> None:
    upgrade(url)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    for attempt in (upgrade, Store):
        with pytest.raises(StorageError, match="newer version"):
            attempt(url)
    assert path.read_bytes() == before


def test_another_program_s_tables_are_left_alone(url: str, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE run (miles REAL)")
    connection.execute("INSERT INTO run VALUES (26.2)")
    connection.commit()
    with pytest.raises(StorageError, match="already exists"):
        Store(url)
    assert tables(path) == {"run"}
    assert connection.execute("SELECT miles FROM run").fetchall() == [(26.2,)]
    connection.close()


def test_killed_halfway_it_is_the_old_schema_never_half(url: str, path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", DIE_HALFWAY, url], check=False)
    assert killed.returncode == -9
    assert tables(path) == set()
    assert current_revision(url) is None
    upgrade(url)
    assert {"run", "answer", "trace", "vote"} <= tables(path)


def test_racing_starts_on_one_new_file_all_succeed(url: str) -> None:
    code = "import sys; from gac_app.storage import Store; store = Store(sys.argv[1]); store.check(); store.close()"
    racers = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(racer.communicate()[1], racer.returncode) for racer in racers] == [("", 0)] * 3
    assert current_revision(url) == upgrade(url)


def test_a_start_waits_for_another_s_transaction(url: str, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE notes (note TEXT)")
    with ThreadPoolExecutor() as pool:
        upgraded = pool.submit(upgrade, url)
        with pytest.raises(TimeoutError):
            upgraded.result(timeout=0.5)
        other.execute("COMMIT")
        assert upgraded.result(timeout=10) == current_revision(url)
    other.close()
