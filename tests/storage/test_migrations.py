from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, event

from gac_app.errors import StorageError
from gac_app.storage import Store, current_revision, upgrade
from gac_app.storage.database import schema
from gac_app.storage.database.engine import open_engine
from gac_app.storage.database.tables import Base
from tests.databases import full_disk, heads_of_three, sql

FIRST_SCHEMA = Path(__file__).parents[1] / "data" / "schema-0001.sql"  # as SQLite had it


@pytest.fixture
def url(new_url: str) -> str:
    """Of a database that is yet to be made."""
    return new_url


def tables(path: Path) -> set[str]:
    return {name for (name,) in sql(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_from_nothing_and_again(url: str, path: Path) -> None:
    assert current_revision(url) is None
    assert not path.exists(), "asking must not make a file"
    head = upgrade(url)
    assert current_revision(url) == head
    before = path.read_bytes()
    assert upgrade(url) == head
    assert path.read_bytes() == before
    deeper = path.parent / "deep" / "down" / "gac.db"
    upgrade(f"sqlite:///{deeper}")
    assert deeper.stat().st_mode & 0o077 == 0, "and it is private"


def schema_of(path: Path) -> set[tuple[str, ...]]:
    """All that makes the tables and indexes of a SQLite file, by name, whatever its white space and its columns' order,
    since columns are added at the end.
    """
    found = sql(path, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    own = [row for row in found if row[0] not in ("alembic_version", "sqlite_sequence")]
    return {(name, *sorted(" ".join(made.split()).removesuffix(")").strip().split(", "))) for name, made in own}


def begin_with_rows(path: Path) -> None:
    """The first schema with three rows in each table, each of which belongs to the rows of its number."""
    with closing(sqlite3.connect(path)) as first:
        first.executescript(FIRST_SCHEMA.read_text())
    for table in tables(path) - {"alembic_version", "sqlite_sequence"}:
        kinds = [kind for _, _, kind, *_ in sql(path, f"PRAGMA table_info({table})")]
        for number in range(1, 4):
            values = [_VALUES.get(kind.partition("(")[0], int)(number) for kind in kinds]
            sql(path, f"INSERT INTO {table} VALUES ({', '.join('?' * len(kinds))})", *values)
    sql(path, "UPDATE battle SET run_id = NULL")


_VALUES: dict[str, Callable[[int], object]] = {
    "VARCHAR": str,
    "BLOB": lambda number: bytes([number]),
    "DATETIME": lambda number: f"2026-01-0{number} 00:00:00.000000",
}


def rows_of(path: Path) -> dict[str, list[object]]:
    """The values of every column that the first schema has, but for what is of the servers of then."""
    with closing(sqlite3.connect(":memory:")) as first:
        first.executescript(FIRST_SCHEMA.read_text())
        query = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
        known = [
            (table, column)
            for table, column in first.execute(query)
            if table not in ("alembic_version", "server") and column != "server_id"
        ]
    return {f"{table}.{name}": sql(path, f'SELECT "{name}" FROM {table} ORDER BY rowid') for table, name in known}


def test_migrations_make_the_tables_that_the_code_knows(url: str, path: Path, tmp_path: Path) -> None:
    begin_with_rows(path)
    assert current_revision(url) == "0001"
    upgrade(url)
    migrated, wanted = create_engine(url), create_engine(f"sqlite:///{tmp_path / 'wanted.db'}")
    Base.metadata.create_all(wanted)
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert schema_of(path) == schema_of(tmp_path / "wanted.db")
    for opened in (migrated, wanted):
        opened.dispose()


def test_a_newer_schema_is_refused_and_left_alone(url: str, path: Path) -> None:
    upgrade(url)
    sql(path, "UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    for attempt in (upgrade, Store):
        with pytest.raises(StorageError, match="newer version"):
            attempt(url)
    assert path.read_bytes() == before


def test_another_program_s_tables_are_left_alone(url: str, path: Path) -> None:
    sql(path, "CREATE TABLE run (miles REAL)")
    sql(path, "INSERT INTO run VALUES (26.2)")
    with pytest.raises(StorageError, match="already exists"):
        Store(url)
    assert tables(path) == {"run"}
    assert sql(path, "SELECT miles FROM run") == [(26.2,)]


def test_a_vote_that_was_taken_back_or_implied_goes(url: str, path: Path) -> None:
    begin_with_rows(path)
    sql(path, "UPDATE battle SET run_id = '1', origin = 'compare' WHERE id = '1'")
    sql(path, "DELETE FROM judgement WHERE battle_id > '1'")
    kinds = {"2": ("remark", "vote", "remark", "undo", "vote", "remark", "verdict"), "3": ("vote", "undo")}
    for battle, rows in kinds.items():
        for position, kind in enumerate(rows):
            values = f"{battle}{position}", battle, position, kind, b"{}", "2026-01-01 00:00:00.000000"
            columns = "id, battle_id, position, kind, facts, created_at"
            sql(path, f"INSERT INTO judgement ({columns}) VALUES (?, ?, ?, ?, ?, ?)", *values)
    upgrade(url)
    assert sql(path, "SELECT id FROM battle ORDER BY id") == [("2",), ("3",)]
    assert sql(path, "SELECT id FROM tombstone") == [("1",)], "a mirror's lines of it are erased"
    assert sql(path, "SELECT battle_id FROM standing_vote ORDER BY 1") == [("2",), ("3",)]
    found = sql(path, "SELECT id, position FROM judgement ORDER BY battle_id, position")
    assert found == [("24", 0), ("25", 1), ("26", 2)], "one remark, the last"
    assert sql(path, "SELECT count(*) FROM run") == [(3,)]


@pytest.mark.parametrize("has_rows", [False, True])
def test_killed_after_any_statement_it_is_old_or_new(
    url: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_rows: bool
) -> None:
    """A process that is killed leaves its files as they are at that moment."""
    if has_rows:
        begin_with_rows(path)
    rows = rows_of(path) if has_rows else {}
    files, left = (path, path.with_name("gac.db-wal")), list[tuple[bytes, ...]]()
    old = current_revision(url), schema_of(path)

    def keep_the_files(*_: object) -> None:
        left.append(tuple(one.read_bytes() if one.exists() else b"" for one in files))

    with monkeypatch.context() as opened:
        engine = open_engine(url)
        event.listen(engine, "after_cursor_execute", keep_the_files)
        event.listen(engine, "commit", keep_the_files)
        opened.setattr(schema, "open_engine", lambda _: engine)
        head = upgrade(url)
    new = head, schema_of(path)
    assert len(left) > 15
    for number, contents in enumerate(set(left)):
        killed = tmp_path / f"killed-{number}.db"
        for content, end in zip(contents, ("", "-wal"), strict=True):
            Path(f"{killed}{end}").write_bytes(content)
        assert (current_revision(f"sqlite:///{killed}"), schema_of(killed)) in (old, new)
        assert (upgrade(f"sqlite:///{killed}"), schema_of(killed)) == new
        assert rows_of(killed) == (rows or rows_of(killed))


@pytest.mark.parametrize("num_bytes", [0, 4096, 30_000])
def test_on_a_full_disk_it_stays_as_it_was(url: str, path: Path, num_bytes: int) -> None:
    with closing(sqlite3.connect(path)) as first:
        first.executescript(FIRST_SCHEMA.read_text())
    old = schema_of(path)
    with full_disk(num_bytes), pytest.raises(StorageError, match=str(path)):
        Store(url)
    assert (current_revision(url), schema_of(path)) == ("0001", old)
    Store(url).close()


def test_three_that_start_at_once_migrate_once(url: str, path: Path) -> None:
    with closing(sqlite3.connect(path)) as first:
        first.executescript(FIRST_SCHEMA.read_text())
    assert heads_of_three(url) == {current_revision(url)}


def test_a_start_waits_for_another_s_transaction(url: str, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("CREATE TABLE notes (note TEXT)")
    with ThreadPoolExecutor() as pool:
        upgraded = pool.submit(upgrade, url)
        with pytest.raises(TimeoutError):
            upgraded.result(timeout=0.5)
        other.execute("COMMIT")
        assert upgraded.result(timeout=10) == current_revision(url)
    other.close()
