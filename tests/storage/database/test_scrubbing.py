"""What is deleted leaves SQLite's log, also where a reader holds that for long, and no write waits for it.

`pytest -m long -s tests/storage/database/test_scrubbing.py` shows what writes take beside a reader of half a minute.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from gac_app.errors import StorageError
from gac_app.storage import NewRun, Store
from gac_app.storage.database.engine import scrub, set_up_sqlite
from gac_app.storage.database.scrubber import Scrubber
from tests.databases import sql
from tests.fakes import WAIT_S
from tests.services.house import until
from tests.storage.samples import ALICE, answer, new_run
from tests.storage.test_deletion import keys_of, occurrences

EXPECTED = {"secure_delete": 1, "synchronous": 2, "journal_mode": "wal", "foreign_keys": 1}


@contextmanager
def held(path: Path) -> Iterator[None]:
    """A reader holds the log, as a backup does, until the block ends."""
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM run").fetchone()
    yield
    reader.close()


def stored(store: Store, prompt: str) -> NewRun:
    run = new_run(prompt)
    store.start_run(run)
    store.save_answer(run.run_id, answer()).result()
    return run


@pytest.mark.parametrize("seconds", [1.0, pytest.param(32.0, marks=pytest.mark.long)])
def test_no_write_waits_while_a_reader_holds_the_log(url: str, path: Path, seconds: float) -> None:
    store = Store(url, retry_s=10 * seconds)
    doomed, kept = stored(store, "doomed"), stored(store, "kept")
    [key], waited = keys_of(path, doomed), list[float]()
    with held(path):
        deletion = store.delete_run(ALICE, doomed.run_id)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.monotonic()
            store.vote(ALICE, kept.run_id, "tie").result(WAIT_S)
            waited.append(time.monotonic() - started)
        assert not deletion.done(), "the log still holds the key"
        assert occurrences(path, key)
    deletion.result(WAIT_S)
    assert not occurrences(path, key)
    print(f"{len(waited)} votes beside a reader of {seconds:g} s: the longest took {max(waited):.3f} s")
    assert max(waited) < 4.0, "the usual wait for a lock is 5 s"
    store.close()


def test_after_a_scrub_a_connection_waits_as_long_as_before(store: Store) -> None:
    def waits_ms() -> int:
        with store.engine.connect() as connection:
            return int(connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one())

    before = waits_ms()
    scrub(store.engine)
    assert waits_ms() == before > 1000


def test_a_deletion_that_nobody_waits_for_is_scrubbed_later(url: str, path: Path) -> None:
    store = Store(url, retry_s=0.2)
    doomed = stored(store, "doomed")
    [key] = keys_of(path, doomed)
    with held(path), pytest.raises(StorageError, match="the write-ahead log is in use and still holds it"):
        store.delete_run(ALICE, doomed.run_id).result(WAIT_S)
    until(lambda: not occurrences(path, key), "for the scrub")
    store.close()


def test_each_deletion_is_scrubbed_after_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    scrubbed = list[object]()
    monkeypatch.setattr("gac_app.storage.database.scrubber.scrub", scrubbed.append)
    scrubber = Scrubber(store.engine, patience_s=WAIT_S)
    for number in (1, 2, 3):
        deletion = Future[None]()
        scrubber.add(deletion)
        deletion.result(WAIT_S)
        assert len(scrubbed) == number
    scrubber.close()
    assert scrubbed == 3 * [store.engine]


def test_a_deletion_amid_a_failing_scrub_is_scrubbed_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    deletions, added = [Future[None](), Future[None]()], list[Future[None]]()

    def scrub_or_fail(_: object) -> None:
        if len(added) == 1:
            add(deletions[1])
            raise TimeoutError

    def add(deletion: Future[None]) -> None:
        added.append(deletion)
        scrubber.add(deletion)

    monkeypatch.setattr("gac_app.storage.database.scrubber.scrub", scrub_or_fail)
    scrubber = Scrubber(store.engine, patience_s=WAIT_S)
    add(deletions[0])
    for deletion in deletions:
        deletion.result(WAIT_S)
    scrubber.close()


def test_a_store_that_closes_scrubs_once_more_or_says_so(url: str, path: Path) -> None:
    store = Store(url)
    doomed = stored(store, "doomed")
    with held(path):
        deletion = store.delete_run(ALICE, doomed.run_id)
        store.close()
        with pytest.raises(StorageError, match="still holds it"):
            deletion.result(WAIT_S)
    assert sql(path, "SELECT key FROM run_key") == [(bytes(32),)]


def test_every_connection_has_the_settings_that_are_relied_on(store: Store) -> None:
    """Also where SQLite was built with other defaults. A power loss may cost the last writes, and never the file."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute("PRAGMA secure_delete=OFF")
        set_up_sqlite(connection)
        assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
    with store.engine.connect() as used:
        found = {name: used.exec_driver_sql(f"PRAGMA {name}").scalar() for name in EXPECTED}
    assert found == EXPECTED
