"""Several servers on one database: a run is interrupted when its own server is dead, and never before."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from gac_app.storage import NewRun, RunStatus, Store, servers
from tests.clocks import HandClock
from tests.databases import sql, statements
from tests.services.house import until
from tests.storage.samples import ALICE, new_run

RUN_FOR_EVER = """
import sys, time
from gac_app.storage import Store
from tests.storage.samples import new_run

store = Store(sys.argv[1])
run = new_run()
store.start_run(run).result()
print(run.run_id, flush=True)
time.sleep(600)
"""


@contextmanager
def other_server(url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process with a run of its own going on."""
    process = subprocess.Popen([sys.executable, "-c", RUN_FOR_EVER, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def status_of(store: Store, run_id: str) -> str:
    return store.load_run(ALICE, run_id).status


def report_elsewhere(path: Path, days_ahead: float = 0) -> None:
    """Let every server so far be on another machine, whose clock is ahead, and report that it is alive."""
    statement = "UPDATE server SET host = 'elsewhere', seen_at = strftime('%Y-%m-%d %H:%M:%f', 'now', ?)"
    sql(path, statement, f"{days_ahead} days")


def beat(store: Store) -> None:
    assert store._heartbeat
    store._heartbeat._beat()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """The monotonic one."""
    clock = HandClock()
    monkeypatch.setattr(servers, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.mark.process
def test_a_second_server_leaves_the_first_one_s_runs_alone(url: str) -> None:
    with other_server(url) as (process, run_id):
        with closing(Store(url)) as second:
            assert status_of(second, run_id) == RunStatus.RUNNING
        third = Store(url)
        assert status_of(third, run_id) == RunStatus.RUNNING, "nor when one of them leaves"
        process.kill()
        process.wait()
        successor = Store(url)
        assert status_of(successor, run_id) == RunStatus.INTERRUPTED
        third.close()
        successor.close()


@pytest.mark.parametrize("days_ahead", [-1, 0, 1])
def test_a_server_elsewhere_is_dead_once_it_is_silent(
    run: NewRun, url: str, path: Path, clock: HandClock, days_ahead: float
) -> None:
    report_elsewhere(path, days_ahead)
    second = Store(url)
    later = "strftime('%Y-%m-%d %H:%M:%f', seen_at, '+0.1 seconds')"
    sql(path, f"UPDATE server SET seen_at = {later} WHERE host = 'elsewhere'")
    for clock.now in (45, 90):
        beat(second)
        assert status_of(second, run.run_id) == RunStatus.RUNNING
    clock.now = 45 + 75
    beat(second)
    assert status_of(second, run.run_id) == RunStatus.INTERRUPTED
    second.close()


def test_a_clock_that_is_set_makes_no_server_dead(run: NewRun, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    boot_s = psutil.boot_time()
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot_s + 24 * 3600)
    with closing(Store(url)) as second:
        assert status_of(second, run.run_id) == RunStatus.RUNNING


def test_servers_before_and_after_an_update_let_each_other_live(run: NewRun, url: str, path: Path) -> None:
    host, me = f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}", psutil.Process()
    assert sql(path, "SELECT host FROM server") != [(host,)], "else one of 1.1 would look for it among its processes"
    sql(path, "UPDATE server SET host = ?, started_s = ?", host, me.create_time())  # as 1.1 writes it
    with closing(Store(url)) as second:
        assert status_of(second, run.run_id) == RunStatus.RUNNING


def test_a_server_that_lives_on_hears_of_one_that_dies(url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "BEAT_S", 0.05)
    store, run = Store(url), new_run()
    store.start_run(run).result()
    sql(path, "UPDATE run SET server_id = 'gone'")
    until(lambda: status_of(store, run.run_id) != RunStatus.RUNNING, "for a beat")
    store.close()


def test_a_run_that_was_given_up_wrongly_ends_as_it_ended(url: str, path: Path, clock: HandClock) -> None:
    first = Store(url)
    run = new_run()
    first.start_run(run).result()
    report_elsewhere(path)
    second = Store(url)
    clock.now = 1000
    beat(second)
    assert status_of(second, run.run_id) == RunStatus.RUNNING, "nobody could report while the database was away"
    for clock.now in (1045, 1075):
        beat(second)
    assert status_of(second, run.run_id) == RunStatus.INTERRUPTED
    first.finish_run(run.run_id, RunStatus.FINISHED).result()
    assert status_of(second, run.run_id) == RunStatus.FINISHED
    for store in (first, second):
        store.close()


def test_a_machine_of_the_same_name_is_another(run: NewRun, url: str, path: Path) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    sql(path, "UPDATE server SET host = replace(host, ?, 'another'), pid = 2147483647", boot)
    with closing(Store(url)) as second:
        assert status_of(second, run.run_id) == RunStatus.RUNNING


def test_another_process_with_the_same_id_is_not_the_server(run: NewRun, url: str, path: Path) -> None:
    sql(path, "UPDATE server SET started_s = started_s - 100")
    with closing(Store(url)) as second:
        assert status_of(second, run.run_id) == RunStatus.INTERRUPTED
        assert second.load_run(ALICE, run.run_id).finished_at is not None


def test_a_heartbeat_reads_no_battle_that_is_over(store: Store) -> None:
    with statements(store.engine) as told:
        beat(store)
    updates = [one for one in told if one.startswith("UPDATE battle")]
    assert len(updates) == 2
    for update in updates:
        with store.engine.connect() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {update}", ("x",) * update.count("?")).all()
        assert "SEARCH battle USING INDEX ix_battle_server_id (server_id>?)" in [row[-1] for row in plan]
