"""kill -9 in the middle of a batch: every row that was reported over is in the database."""

from __future__ import annotations

import multiprocessing
import random
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from gac_app.services.runs.batches import Batches
from gac_app.storage import RunStatus, Store
from tests.databases import database_in
from tests.services.house import ALICE, SHORT, House

SERVERS = multiprocessing.get_context("forkserver")  # one process imports torch for all of them


def run_a_batch(database: Path, reported: Connection) -> None:
    """In a process that will be killed: report each row's run once the row is over."""
    prompts = "\n".join(f"Question {number}?" for number in range(200))
    for row in Batches(House(database).service()).start(ALICE, prompts, SHORT).rows:
        while not row.is_over:
            time.sleep(0.0005)
        reported.send(row.run_id)


def reported_until_killed(database: Path, num_rows: int) -> list[str]:
    """Kill a server after so many rows; the runs of those that it had reported over."""
    reports, reported = SERVERS.Pipe(duplex=False)
    server = SERVERS.Process(target=run_a_batch, args=(database, reported))
    server.start()
    reported.close()
    over = [reports.recv() for _ in range(num_rows)]
    server.kill()
    server.join()
    try:
        while True:
            over.append(reports.recv())
    except EOFError:
        return over


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("num_rounds", [2, pytest.param(20, marks=pytest.mark.long)])
def test_no_row_that_was_reported_over_is_lost(tmp_path: Path, num_rounds: int) -> None:
    SERVERS.set_forkserver_preload([__name__])
    database = tmp_path / "runs.sqlite3"
    url = database_in(database)
    over: list[str] = []
    for _ in range(num_rounds):
        over += reported_until_killed(database, random.randint(3, 12))
    store = Store(url)
    stored = [store.load_run(ALICE, run_id) for run_id in over]
    store.close()
    assert [(run.status, len(run.answers)) for run in stored] == [(RunStatus.FINISHED, 3)] * len(over)
    print(f"{len(over)} rows over, none lost, after {num_rounds} kills")
