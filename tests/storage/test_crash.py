"""kill -9 in the middle of writing: what was acknowledged is there, what was running is marked."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gac_app.storage import RunStatus, Store
from tests.storage.samples import ALICE, answer, new_run

NUM_ROUNDS = 5
WRITE_FOR_EVER = """
import sys
from gac_app.storage import RunStatus, Store
from tests.storage.samples import answer, new_run

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
"""


def acknowledged_until_killed(url: str, after_s: float) -> dict[str, set[str]]:
    """Kill a writer; give the ids that it had reported of each kind."""
    writer = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, url], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "open\n"
    time.sleep(after_s)
    writer.kill()
    reported, _ = writer.communicate()
    ids: dict[str, set[str]] = {"started": set(), "answered": set(), "finished": set()}
    whole_lines, _, _ = reported.rpartition("\n")  # the writer may have died in the middle of the last one
    for line in whole_lines.splitlines():
        kind, run_id = line.split()
        ids[kind].add(run_id)
    return ids


@pytest.mark.process
def test_kill_9_loses_nothing_that_was_acknowledged(url: str, path: Path) -> None:
    seen: dict[str, set[str]] = {"started": set(), "answered": set(), "finished": set()}
    for _ in range(NUM_ROUNDS):
        for kind, ids in acknowledged_until_killed(url, random.uniform(0.05, 0.3)).items():
            seen[kind] |= ids
        store = Store(url)
        runs = {summary.run_id: summary for summary in store.list_runs(ALICE, limit=100_000)}
        assert seen["started"] <= runs.keys()
        assert all(runs[run_id].num_answers == 1 for run_id in seen["answered"])
        assert all(runs[run_id].status == RunStatus.FINISHED for run_id in seen["finished"])
        assert {summary.status for summary in runs.values()} <= {RunStatus.FINISHED, RunStatus.INTERRUPTED}
        store.close()
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        connection.close()
    assert len(seen["finished"]) > NUM_ROUNDS


def test_running_runs_of_a_dead_process_are_interrupted_but_a_command_s_neighbour_is_not(url: str) -> None:
    server = Store(url)
    run = new_run()
    server.start_run(run).result()

    command = Store(url, is_owner=False)
    assert command.load_run(ALICE, run.run_id).status == RunStatus.RUNNING
    command.close()

    server.close()  # without having finished the run
    successor = Store(url)
    stored = successor.load_run(ALICE, run.run_id)
    assert stored.status == RunStatus.INTERRUPTED
    assert stored.finished_at is not None
    successor.close()


def test_closing_writes_what_waits(url: str) -> None:
    store = Store(url)
    runs = [new_run(f"prompt {number}") for number in range(50)]
    futures = [store.start_run(run) for run in runs]
    futures += [store.save_answer(run.run_id, answer()) for run in runs]
    store.close(timeout_s=30)
    assert all(future.exception() is None for future in futures)
    reopened = Store(url)
    assert len(reopened.list_runs(ALICE, limit=100)) == 50
    reopened.close()
