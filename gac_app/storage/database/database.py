"""The database: its engine, its writing thread, its scrubbing thread, and who is told of writes.

Knows no table; the rooms' functions read and write them, each inside the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy.orm import Session

from gac_app.storage.database.engine import open_engine, probe, reading, writing
from gac_app.storage.database.schema import upgrade_engine
from gac_app.storage.database.scrubber import Scrubber
from gac_app.storage.database.writer import Writer

T = TypeVar("T")
P = ParamSpec("P")

_SERVER, _TOLD = "server_id", "told"  # of a writing session's `info`


class Observer(Protocol):
    """Is told of writes, in the writing thread, so it must not wait."""

    def changed(self, battle_id: str) -> None:
        """A battle was judged, or has other answers."""

    def deleted(self, ids: Sequence[str]) -> None:
        """Of runs and battles."""


class Database:
    """Writes are queued for one thread and give futures: done once committed, StorageError if the database has failed
    for `retry_s`. Reads happen in the calling thread and raise the same errors.

    Args:
        url: any SQLAlchemy URL; the schema is created or upgraded.
        retry_s: how long a write is retried.

    Attributes:
        observer: is told of writes.
        server_id: identifies this process in the database; None unless it runs models.

    Raises:
        StorageError: newer schema, damaged file, no permission, no server. Nothing is overwritten.
    """

    observer: Observer | None = None
    server_id: str | None = None

    def __init__(self, url: str, *, retry_s: float) -> None:
        self.engine = open_engine(url, busy_timeout_s=min(5.0, retry_s))
        try:
            upgrade_engine(self.engine, url)
        except BaseException:
            self.engine.dispose()
            raise
        self._writer = Writer(retry_s)
        self._scrubber = Scrubber(self.engine, retry_s)

    @property
    def database(self) -> Database:
        return self

    @property
    def num_errors(self) -> int:
        """Writes lost since the start."""
        return self._writer.num_errors

    def reading(self) -> AbstractContextManager[Session]:
        """A session to read with, in the calling thread."""
        return reading(self.engine)

    def write(self, work: Callable[[Session], T]) -> Future[T]:
        """Do `work` in one transaction of the writing thread."""
        return self._writer.submit(lambda: self.transact(work))

    def delete(self, work: Callable[[Session], object]) -> Future[None]:
        """As `write`, for deletions. Done once the database's files have no trace of the deleted data, which no other
        write waits for.
        """
        deletion: Future[None] = Future()
        deletion.set_running_or_notify_cancel()

        def scrub(done: Future[object]) -> None:
            if error := done.exception():
                deletion.set_exception(error)
            else:
                self._scrubber.add(deletion)

        self.write(work).add_done_callback(scrub)
        return deletion

    def transact(self, work: Callable[[Session], T]) -> T:
        """Do `work` in one transaction, in the calling thread, and tell the observer what it says by `when_written`."""
        told: list[Callable[[Observer], None]] = []
        with writing(self.engine) as session:
            session.info.update({_SERVER: self.server_id, _TOLD: told})
            result = work(session)
        if self.observer:
            for tell in told:
                tell(self.observer)
        return result

    def check(self) -> None:
        """Raise StorageError if the database cannot be written."""
        probe(self.engine)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until every write so far is settled. Returns False if that takes longer."""
        return self._writer.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is queued, for at most `timeout_s`, fail the rest, and release the database."""
        self._writer.close(timeout_s)
        self._scrubber.close()
        self.engine.dispose()


def server_of(session: Session) -> str | None:
    """The `server_id` of the database that a session writes to."""
    server_id: str | None = session.info[_SERVER]
    return server_id


def when_written(session: Session, tell: Callable[[Observer], None]) -> None:
    """Call `tell` once the session's transaction is committed, if there is an observer."""
    session.info[_TOLD].append(tell)


class HasDatabase(Protocol):
    """What has methods made by `reads`, `writes` and `deletes`."""

    @property
    def database(self) -> Database: ...


def reads(work: Callable[Concatenate[Session, P], T]) -> Callable[Concatenate[HasDatabase, P], T]:
    """A method that does `work` in a session of the calling thread."""

    @wraps(work)
    def method(owner: HasDatabase, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with owner.database.reading() as session:
            return work(session, *args, **kwargs)

    return method


def writes(work: Callable[Concatenate[Session, P], T]) -> Callable[Concatenate[HasDatabase, P], Future[T]]:
    """A method that does `work` in a transaction of the writing thread; see `Database.write`."""

    @wraps(work)
    def method(owner: HasDatabase, /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return owner.database.write(lambda session: work(session, *args, **kwargs))

    return method


def deletes(work: Callable[Concatenate[Session, P], object]) -> Callable[Concatenate[HasDatabase, P], Future[None]]:
    """A method that does `work` in a transaction that deletes; see `Database.delete`."""

    @wraps(work)
    def method(owner: HasDatabase, /, *args: P.args, **kwargs: P.kwargs) -> Future[None]:
        return owner.database.delete(lambda session: work(session, *args, **kwargs))

    return method
