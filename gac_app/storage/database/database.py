"""The database: its engine, its writing thread, its scrubbing thread, and the witness of writes.

Knows no table; `store` and `battle_store` read and write them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from sqlalchemy.orm import Session

from gac_app.storage.database.engine import open_engine, probe, reading, scrub_if_idle, writing
from gac_app.storage.database.schema import upgrade_engine
from gac_app.storage.database.scrubber import Scrubber
from gac_app.storage.database.servers import Heart
from gac_app.storage.database.writer import Writer
from gac_app.storage.runs.records import Gone

T = TypeVar("T")


class Witness(Protocol):
    """Is told of writes, in the writing thread, so it must not wait."""

    def changed_run(self, run_id: str) -> None:
        """A run has ended, or its vote was given, changed or taken back."""

    def changed_battle(self, battle_id: str) -> None:
        """A battle has ended, or was judged."""

    def deleted(self, gone: Gone) -> None: ...


class Database:
    """Writes are queued for one thread and give futures: done once committed, StorageError if the database has failed
    for `retry_s`. Reads happen in the calling thread and raise the same errors.

    Args:
        url: any SQLAlchemy URL; the schema is created or upgraded.
        retry_s: how long a write is retried.
        is_owner: whether this process runs models. Then its runs are marked as its own while it lives, and runs of dead
            processes are marked as interrupted. False for a command beside a server.

    Attributes:
        server_id: identifies this process in the database; None unless it is an owner.
        witness: is told of writes.

    Raises:
        StorageError: newer schema, damaged file, no permission, no server. Nothing is overwritten.
    """

    witness: Witness | None = None

    def __init__(self, url: str, *, retry_s: float = 30.0, is_owner: bool = True) -> None:
        self.engine = open_engine(url, busy_timeout_s=min(5.0, retry_s))
        try:
            upgrade_engine(self.engine, url)
            if is_owner:
                scrub_if_idle(self.engine)
            self._heart = Heart(self.engine) if is_owner else None
            self.server_id = self._heart.server_id if self._heart else None
        except BaseException:
            self.engine.dispose()
            raise
        self._writer = Writer(retry_s)
        self._scrubber = Scrubber(self.engine, retry_s)

    @property
    def num_errors(self) -> int:
        """Writes lost since the start."""
        return self._writer.num_errors

    def reading(self) -> AbstractContextManager[Session]:
        """A session to read with, in the calling thread."""
        return reading(self.engine)

    def write(self, work: Callable[[Session], T], *, run: str = "", battles: Sequence[str] = ()) -> Future[T]:
        """Do `work` in one transaction of the writing thread.

        Args:
            run, battles: ids for the witness.
        """

        def tell() -> None:
            if self.witness and run:
                self.witness.changed_run(run)
            if self.witness:
                for battle in battles:
                    self.witness.changed_battle(battle)

        return self._writer.submit(lambda: self.transact(work), tell)

    def delete(self, work: Callable[[Session], Gone | None]) -> Future[None]:
        """As `write`, for deletions. Done once the database's files have no trace of the deleted data, which no other
        write waits for.
        """
        gone: list[Gone | None] = []
        deletion: Future[None] = Future()
        deletion.set_running_or_notify_cancel()

        def tell() -> None:
            if self.witness and gone[-1]:
                self.witness.deleted(gone[-1])

        def scrub(done: Future[None]) -> None:
            if error := done.exception():
                deletion.set_exception(error)
            else:
                self._scrubber.add(deletion)

        self._writer.submit(lambda: gone.append(self.transact(work)), tell).add_done_callback(scrub)
        return deletion

    def transact(self, work: Callable[[Session], T]) -> T:
        """Do `work` in one transaction, in the calling thread."""
        with writing(self.engine) as session:
            return work(session)

    def check(self) -> None:
        """Raise StorageError if the database cannot be written."""
        probe(self.engine)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until every write so far is settled. Returns False if that takes longer."""
        return self._writer.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is queued, for at most `timeout_s`, fail the rest, and release the database."""
        if self._heart:
            self._heart.stop()
            self.write(self._heart.leave)
        self._writer.close(timeout_s)
        self._scrubber.close()
        self.engine.dispose()
