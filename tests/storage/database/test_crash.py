"""kill -9 in the middle of writing: what was acknowledged is there, what was running is marked."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gac_app.storage import RunStatus, Store
from tests.databases import sql
from tests.storage.samples import ALICE, listed

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
