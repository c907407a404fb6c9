"""The connection to the database, and the differences between kinds of databases."""

from __future__ import annotations

import logging
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from gac_app.errors import StorageError

# Errors of a database or its driver. Any other exception is a bug and must not look like one of these.
REFUSALS = (DBAPIError, PoolTimeoutError, sqlite3.Error)

_log = logging.getLogger(__name__)
_WRITES = "gac_writes"
_CACHE_KIB = 16_384  # of a connection, where it is needed: holds the pages that an import's transaction changes
_SCRUB_MS = 50  # how long a scrub waits for readers, and writers for a scrub
_POSTGRES_LOCK = 0x6761632D  # an arbitrary number: writers hold this advisory lock
_IDLE_S = 30  # after which Postgres ends a writer from which nothing comes


def open_engine(url: str, busy_timeout_s: float = 5.0) -> Engine:
    """Connect lazily to any SQLAlchemy URL; SQLite needs a file.

    Args:
        busy_timeout_s: how long SQLite waits for another process's lock, and a read for one of 15 connections, which
            a database that hangs keeps. So it does not keep all threads of a server.

    Raises:
        StorageError: the URL cannot be used.
    """
    try:
        parsed = make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        if is_sqlite and (parsed.database in (None, "", ":memory:") or parsed.query.get("mode") == "memory"):
            raise StorageError("the database must be a file, as in sqlite:////home/me/gac.db; memory is per thread")
        options: dict[str, Any] = {"connect_args": {"timeout": busy_timeout_s}} if is_sqlite else {}
        options |= {"poolclass": QueuePool, "pool_size": 5, "max_overflow": 10, "pool_timeout": busy_timeout_s}
        # No parameters in messages: they hold what visitors typed.
        engine = create_engine(parsed, hide_parameters=True, pool_pre_ping=not is_sqlite, **options)
    except (ArgumentError, ImportError) as error:
        driver = "; install that driver beside this application" if isinstance(error, ImportError) else ""
        raise StorageError(f"the database URL cannot be used: {error}{driver}") from None
    if is_sqlite:
        event.listen(engine, "connect", lambda connection, _: set_up_sqlite(connection))
    event.listen(engine, "begin", _begin)
    return engine


def database_file(url: str) -> Path | None:
    """The file of a plain SQLite URL; None for other URLs."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StorageError(f"invalid database URL {url!r}; expected one such as sqlite:////data/gac.sqlite3") from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database.startswith("file:"):
        return None
    return Path(parsed.database)


def create_file(url: str) -> None:
    """Create the SQLite file and its folder, readable by the owner alone, unless it exists.

    Raises:
        StorageError: it cannot be created, or its folder, where SQLite writes its log, cannot be written.
    """
    path = database_file(url)
    if path is None:
        return
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise StorageError(f"the database {path} cannot be written: {error.strerror}") from None


@contextmanager
def storage_errors(opened: Engine | None = None) -> Iterator[None]:
    """Turn database errors into a StorageError without visitors' text, which may be shown on the page.

    Args:
        opened: names the database in the message, which is for the operator then.
    """
    try:
        yield
    except REFUSALS as error:
        if opened is None:
            raise refusal(error) from None
        url = opened.url
        name = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
        raise refusal(error, f" {name}") from None


def refusal(error: Exception, name: str = "") -> StorageError:
    if isinstance(error, PoolTimeoutError):
        return StorageError(f"the database{name} is busy; try again in a moment")
    reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]  # Postgres adds the row's values
    return StorageError(f"the database{name} cannot be used: {reason}")


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A short transaction that only reads."""
    with storage_errors(), Session(engine) as session:
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A writing transaction, one at a time across all processes, committed at the end of the block."""
    with Session(engine.execution_options(**{_WRITES: True})) as session, session.begin():
        yield session


def use_wal(engine: Engine) -> None:
    """Turn on SQLite's write-ahead log, so that readers and the writer do not wait for each other."""
    if engine.dialect.name != "sqlite":
        return
    mode = ""
    for attempt in range(50):
        # Racing processes get 'locked' here at once, in spite of the busy timeout.
        try:
            with closing(engine.raw_connection()) as connection:
                mode = str(connection.cursor().execute("PRAGMA journal_mode=WAL").fetchone()[0])
            break
        except sqlite3.OperationalError as error:
            is_locked = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if attempt == 49 or not is_locked:
                raise
            time.sleep(0.05)
    if mode != "wal":
        _log.warning("the database's file system has no write-ahead log (journal mode %s): writes are slower", mode)


def scrub_if_idle(engine: Engine) -> None:
    """At start: finish a deletion that a dead process left unfinished, if nobody uses the log."""
    with suppress(*REFUSALS, TimeoutError):
        scrub(engine)


def scrub(engine: Engine) -> None:
    """After a deletion: remove the deleted data from SQLite's write-ahead log.

    Raises:
        TimeoutError: readers keep the log in use; worth another try.
    """
    if engine.dialect.name != "sqlite":
        return
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        (usual_ms,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        # Most is copied without a lock. Truncating waits for readers while it keeps writers out, so it must be short.
        cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        cursor.execute(f"PRAGMA busy_timeout={_SCRUB_MS}")
        try:
            is_busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            cursor.execute(f"PRAGMA busy_timeout={usual_ms}")
            cursor.close()
    if is_busy:
        raise TimeoutError("deleted, but the write-ahead log is in use and still holds it")


def probe(engine: Engine) -> None:
    """Write to the database without changing anything."""
    is_sqlite = engine.dialect.name == "sqlite"
    with storage_errors(), writing(engine) as session:
        if is_sqlite:
            # An UPDATE to equal values would not touch the file; this writes a page.
            version = session.execute(text("PRAGMA user_version")).scalar_one()
            session.execute(text(f"PRAGMA user_version={int(version)}"))
        else:
            session.execute(text("UPDATE alembic_version SET version_num = version_num"))


def set_up_sqlite(connection: sqlite3.Connection) -> None:
    """Give a new connection the settings that all of ours have."""
    connection.isolation_level = None  # `_begin` begins, not the driver
    # FULL: what is acknowledged outlives a loss of power too, at about 4 ms a commit.
    pragmas = ["synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", "temp_store=MEMORY"]
    for pragma in (*pragmas, f"cache_size=-{_CACHE_KIB}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    is_writing = connection.get_execution_options().get(_WRITES, False)
    if connection.dialect.name == "sqlite":
        # A transaction that begins as a reader and then writes fails if another has written meanwhile.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")
    elif connection.dialect.name == "postgresql" and is_writing:
        # Everybody waits for the writer that has the lock, also while its machine sleeps or is cut off.
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_S}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})")
