"""Several servers on one database: each marks what it left itself, and never what another one answers."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gac_app.storage import NewRun, RunStatus, Store
from tests.databases import sql
from tests.storage.samples import ALICE, new_run

RUN_FOR_EVER = """
import sys, time
from gac_app.storage import Store
from tests.storage.samples import new_run

store = Store(sys.argv[1], server="killed")
run = new_run()
store.start_run(run).result()
print(run.run_id, flush=True)
time.sleep(600)
"""


def status_of(store: Store, run_id: str) -> str:
    return store.load_run(ALICE, run_id).status


@pytest.mark.process
def test_a_killed_server_marks_its_runs_at_its_next_start(url: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", RUN_FOR_EVER, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    process.kill()
    process.communicate()
    with closing(Store(url, server="another")) as another:
        assert status_of(another, run_id) == RunStatus.RUNNING
        with closing(Store(url, server="killed")) as again:
            assert status_of(again, run_id) == RunStatus.INTERRUPTED
            assert again.load_run(ALICE, run_id).finished_at is not None


def test_a_server_that_ends_marks_its_own_runs_alone(run: NewRun, url: str) -> None:
    other = new_run()
    with closing(Store(url, server="another")) as another:
        another.start_run(other).result()
    with closing(Store(url, server="")) as command:
        assert (status_of(command, run.run_id), status_of(command, other.run_id)) == ("running", "interrupted")


def test_a_run_that_was_left_for_a_day_is_interrupted(run: NewRun, store: Store, path: Path) -> None:
    """Its server never came back."""
    for hours, expected in ((23, RunStatus.RUNNING), (25, RunStatus.INTERRUPTED)):
        sql(path, "UPDATE run SET created_at = strftime('%Y-%m-%d %H:%M:%f', 'now', ?)", f"-{hours} hours")
        assert status_of(store, run.run_id) == expected
        [talk] = store.conversation_runs(ALICE, store.load_run(ALICE, run.run_id).conversation_id)
        assert talk.status == expected


def test_a_run_that_was_given_up_wrongly_ends_as_it_ended(run: NewRun, store: Store, url: str) -> None:
    """Two servers had the same name."""
    with closing(Store(url)) as second:
        assert status_of(second, run.run_id) == RunStatus.INTERRUPTED
        store.finish_run(run.run_id, RunStatus.FINISHED).result()
        assert status_of(second, run.run_id) == RunStatus.FINISHED
