"""A database that is locked, full, read-only, damaged or away, the thread that writes, and kill -9 amid writing."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gac_app.errors import NotFoundError, StorageError
from gac_app.storage import RunStatus, Store, current_revision, upgrade
from gac_app.storage.database import writer as writer_module
from gac_app.storage.database.engine import open_engine
from gac_app.storage.database.writer import Writer
from tests.databases import full_disk, locked, sql
from tests.fakes import SOON_S, WAIT_S
from tests.storage.samples import ALICE, answer, listed, new_run


def test_a_lock_is_waited_for_without_holding_anybody_up(store: Store, path: Path) -> None:
    with locked(path) as unlock:
        started = time.monotonic()
        future = store.start_run(new_run())
        assert listed(store, ALICE) == []  # readers do not wait for the writer
        assert not store.flush(timeout_s=0.3)
        assert time.monotonic() - started < SOON_S
        unlock()
        assert future.result(WAIT_S) is None
    assert len(listed(store, ALICE)) == 1
    assert store.num_errors == 0


def test_closing_does_not_wait_for_a_lock(url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "gac_app.storage.database.database.open_engine", lambda url, **_: open_engine(url, busy_timeout_s=0.1)
    )
    store = Store(url, retry_s=WAIT_S)
    with locked(path):
        future = store.start_run(new_run())
        started = time.monotonic()
        store.close(timeout_s=0.1)
        assert time.monotonic() - started < SOON_S
    with pytest.raises(StorageError):
        future.result(timeout=0)
    with pytest.raises(StorageError, match="closed"):
        store.start_run(new_run()).result(timeout=0)


def test_a_full_disk_fails_writes_only_while_it_is_full(url: str, path: Path) -> None:
    store = Store(url, retry_s=0.3)
    store.start_run(new_run("before")).result()
    with full_disk(path.with_name("gac.db-wal").stat().st_size):
        for attempt in (lambda: store.start_run(new_run("lost")).result(WAIT_S), store.check):
            with pytest.raises(StorageError) as refused:
                attempt()
            assert str(refused.value) == "the database cannot be used: disk I/O error", "and no path"
        assert ([run.prompt for run in listed(store)], store.num_errors) == (["before"], 1)
    store.check()
    store.start_run(new_run("after")).result()
    assert ([run.prompt for run in listed(store)], store.num_errors) == (["after", "before"], 1)
    store.close()


def test_a_read_only_database_is_refused(url: str, path: Path) -> None:
    upgrade(url)
    before = path.read_bytes()
    read_only = f"sqlite:///file:{path}?mode=ro&uri=true"
    with pytest.raises(StorageError, match="readonly"):
        Store(read_only)
    reader = Store(read_only, server="", retry_s=0.1)
    with pytest.raises(StorageError, match="readonly"):
        reader.check()
    with pytest.raises(StorageError, match="readonly"):
        reader.start_run(new_run()).result()
    assert list(reader.export()) == []
    reader.close()
    assert path.read_bytes() == before


def test_a_damaged_file_is_refused_and_left_as_it_is(url: str, path: Path) -> None:
    store = Store(url)
    for number in range(20):
        run = new_run(f"prompt {number}")
        store.start_run(run)
        store.save_answer(run.run_id, answer("word " * 2000))
    store.close()
    whole = path.read_bytes()
    no_database = b"This is no database at all.\n" * 100
    cut = whole[: len(whole) // 2]
    overwritten = whole[:4096] + b"\xa5" * (len(whole) - 4096)
    for damaged in (no_database, cut, overwritten):
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match=str(path)):
            Store(url)
        assert path.read_bytes() == damaged


@pytest.mark.parametrize("url", [
    "sqlite://", "sqlite:///:memory:", "sqlite:///file:gac?mode=memory&uri=true", "sqlite:////proc/nowhere/gac.db",
    "nosuchdb://host/x", "not a url",
])  # fmt: skip
def test_a_url_that_cannot_be_is_refused(url: str) -> None:
    for attempt in (Store, upgrade):
        with pytest.raises(StorageError):
            attempt(url)


def test_a_server_that_is_away_is_refused_without_its_password() -> None:
    url = "postgresql+psycopg://gac:hunter2@127.0.0.1:1/gac"
    for attempt in (Store, current_revision):
        with pytest.raises(StorageError) as refused:
            attempt(url)
        assert "hunter2" not in str(refused.value)


def test_refusals_and_logs_hold_no_visitor_s_text(url: str, caplog: pytest.LogCaptureFixture) -> None:
    run = new_run("my secret diary")
    with caplog.at_level(logging.INFO), caplog.at_level(logging.INFO, logger="sqlalchemy.engine"):
        store = Store(url)
        store.start_run(run).result()
        with pytest.raises(StorageError) as refused:
            store.start_run(run).result()
        store.close()
    assert "INSERT INTO run" in caplog.text
    assert "secret" not in str(refused.value)
    assert "a write was lost" in caplog.text
    assert "secret" not in caplog.text


def test_reads_beyond_the_connections_are_refused_soon(url: str) -> None:
    """A database that hangs would otherwise keep every thread of the server, one after another."""
    store = Store(url, retry_s=0.2)
    with ExitStack() as hanging:
        for _ in range(15):
            hanging.enter_context(store.reading()).execute(text("SELECT 1"))
        started = time.monotonic()
        with pytest.raises(StorageError, match="the database is busy; try again"):
            listed(store, ALICE)
        assert time.monotonic() - started < SOON_S
    assert listed(store, ALICE) == []
    store.close()


@pytest.fixture
def writer() -> Iterator[Writer]:
    writer = Writer(retry_s=WAIT_S)
    yield writer
    writer.close(WAIT_S)


@pytest.mark.parametrize(
    "error", [NotFoundError("no such run"), StorageError("broken"), ValueError("xyzzy"), KeyboardInterrupt()]
)
def test_an_error_of_the_work_is_the_futures(error: Any, writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise error

    assert writer.submit(fail).exception(WAIT_S) is error
    assert writer.submit(lambda: 3).result(WAIT_S) == 3, "the thread goes on"
    is_fault = not isinstance(error, NotFoundError)
    assert (writer.num_errors, "a write was lost" in caplog.text) == (int(is_fault), is_fault)
    assert "xyzzy" not in caplog.text


def test_so_many_writes_wait_and_no_more(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_MAX_WAITING", 2)
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> Any:
        begun.set()
        go_on.wait(WAIT_S)

    writer.submit(wait)
    assert begun.wait(WAIT_S)
    waiting = [writer.submit(lambda: 1) for _ in range(3)]
    assert [future.done() for future in waiting] == [False, False, True]
    with pytest.raises(StorageError, match="not saved: the store has too many writes waiting"):
        waiting[2].result(0)
    assert writer.num_errors == 1
    go_on.set()
    assert [future.result(WAIT_S) for future in waiting[:2]] == [1, 1]


# --- kill -9: what was acknowledged is there, what was running is marked


KINDS = ("started", "answered", "finished", "preferred", "voted")
WRITE_FOR_EVER = """
import sys
from gac_app.storage import RunStatus, Store
from tests.storage.samples import ALICE, answer, new_run, listed
from tests.storage.battles.test_battles import VOTE, new_battle

store = Store(sys.argv[1])
print("open", flush=True)
while True:
    run = new_run()
    store.start_run(run).result()
    print("started", run.run_id, flush=True)
    store.save_answer(run.run_id, answer("Blue. " * 3000)).result()
    print("answered", run.run_id, flush=True)
    store.finish_run(run.run_id, RunStatus.FINISHED).result()
    print("finished", run.run_id, flush=True)
    store.vote(ALICE, run.run_id, "ensemble").result()
    print("preferred", run.run_id, flush=True)
    battle = new_battle()
    store.battles.start(battle)
    store.battles.judge(ALICE, battle.battle_id, VOTE).result()
    print("voted", battle.battle_id, flush=True)
"""


def acknowledged_until_killed(url: str, num_reports: int) -> dict[str, set[str]]:
    """Kill a writer somewhat after so many reports; give the ids that it had reported of each kind."""
    writer = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, url], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "open\n"
    reported = "".join(writer.stdout.readline() for _ in range(num_reports))
    time.sleep(random.uniform(0, 0.03))
    writer.kill()
    reported += writer.communicate()[0]
    ids: dict[str, set[str]] = {kind: set() for kind in KINDS}
    whole_lines, _, _ = reported.rpartition("\n")  # the writer may have died in the middle of the last one
    for line in whole_lines.splitlines():
        kind, run_id = line.split()
        ids[kind].add(run_id)
    return ids


@pytest.mark.process
@pytest.mark.parametrize("num_rounds", [2, pytest.param(20, marks=pytest.mark.long)])
def test_kill_9_loses_nothing_that_was_acknowledged(url: str, path: Path, num_rounds: int) -> None:
    seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for number in range(num_rounds):
        num_reports = random.randrange(5) + number % 2 * len(KINDS)  # every other round sees one of each kind
        for kind, ids in acknowledged_until_killed(url, num_reports).items():
            seen[kind] |= ids
        store = Store(url)
        runs = {summary.run_id: summary for summary in listed(store, ALICE)}
        assert seen["started"] <= runs.keys()
        assert all(runs[run_id].num_answers == 1 for run_id in seen["answered"])
        assert all(runs[run_id].status == RunStatus.FINISHED for run_id in seen["finished"])
        assert seen["preferred"] <= {run_id for run_id, run in runs.items() if run.outcome}
        assert seen["voted"] <= {row.battle_id for row in store.battles.votes()}
        assert {summary.status for summary in runs.values()} <= {RunStatus.FINISHED, RunStatus.INTERRUPTED}
        store.close()
        assert sql(path, "PRAGMA integrity_check") == [("ok",)]
        assert sql(path, "PRAGMA foreign_key_check") == []
    assert all(seen.values())
