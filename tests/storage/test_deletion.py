"""What is deleted is gone: its rows from the tables, and its key, without which nothing can be read, from the files."""

from __future__ import annotations

import random
import shutil
import threading
from pathlib import Path

import pytest

from gac_app.errors import NotFoundError
from gac_app.storage import NewRun, RunStatus, Store
from gac_app.storage.database import schema
from gac_app.storage.runs import changes
from tests.databases import sql
from tests.fakes import WAIT_S
from tests.storage.samples import ALICE, BOB, MEMBERS, answer, listed, new_id, new_run, token_event

TABLES = ("visitor_session", "conversation", "run", "answer", "trace", "vote")


def write(store: Store, run: NewRun, word: str) -> None:
    """Store a run whose every text holds `word`."""
    store.start_run(run)
    events = [token_event(f"{word}{position}", position) for position in range(300)]
    for name in ("ensemble", *MEMBERS):
        store.save_answer(run.run_id, answer(f"{word} says " * 100, name, detail=f"{word} failed", events=events))
    store.finish_run(run.run_id, RunStatus.FINISHED)
    store.vote(run.visitor_key, run.run_id, f"member:{word}").result()


def occurrences(path: Path, needle: bytes) -> int:
    return sum(file.read_bytes().count(needle) for file in path.parent.iterdir() if file.is_file())


def keys_of(path: Path, *runs: NewRun) -> list[bytes]:
    """What the runs were encrypted with."""
    query = "SELECT run_key.key FROM run JOIN run_key ON run_key.id = run.key_id WHERE run.id = ?"
    return [sql(path, query, run.run_id)[0][0] for run in runs]


def counts(path: Path) -> list[int]:
    return [sql(path, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES]


def test_a_deleted_study_leaves_no_key(store: Store, path: Path) -> None:
    doomed, kept = new_id(), new_id()
    for study_id in (doomed, kept):
        store.save_study(ALICE, study_id, {"name": "xyzzy"}, {"tables": []}).result()
    query = "SELECT run_key.key FROM study JOIN run_key ON run_key.id = study.key_id WHERE study.id = ?"
    [(key,)] = sql(path, query, doomed)
    with pytest.raises(NotFoundError):
        store.delete_study(BOB, doomed).result()
    assert occurrences(path, key) > 0
    store.delete_study(ALICE, doomed).result()
    assert occurrences(path, key) == 0
    assert [(study.study_id, study.head) for study in store.list_studies(ALICE)] == [(kept, {"name": "xyzzy"})]


def test_a_destroyed_key_s_place_is_taken_by_the_next_run(store: Store, path: Path) -> None:
    runs = [new_run() for _ in range(3)]
    for run in runs:
        store.start_run(run)
    store.delete_run(ALICE, runs[1].run_id).result()
    after = new_run("after")
    store.start_run(after).result()
    assert sql(path, "SELECT count(*), sum(is_used) FROM run_key") == [(3, 3)]
    assert len(set(keys_of(path, runs[0], runs[2], after))) == 3
    assert store.load_run(ALICE, after.run_id).prompt == "after"


@pytest.mark.slow
@pytest.mark.parametrize("num_deletions", [120, pytest.param(10_000, marks=pytest.mark.long)])
def test_deletions_leave_nothing_under_concurrent_writing(store: Store, path: Path, num_deletions: int) -> None:
    """Of runs of all sizes."""
    rnd = random.Random(1)
    is_done = threading.Event()

    def write_on() -> None:
        while not is_done.wait(0.002):  # else it fills the log faster than a slow disk empties it
            run = new_run("z" * rnd.randrange(2000), visitor_key=BOB)
            store.start_run(run)
            store.save_answer(run.run_id, answer("y" * rnd.randrange(2000))).result()

    writer = threading.Thread(target=write_on)
    writer.start()
    alive, keys = list[NewRun](), list[bytes]()
    try:
        while len(keys) < num_deletions:
            for _ in range(50):
                alive.append(new_run(f"marker{len(keys)} " * rnd.randint(1, 200)))
                store.start_run(alive[-1])
                store.save_answer(alive[-1].run_id, answer("word " * rnd.choice((1, 30, 900))))
            store.flush(60)
            rnd.shuffle(alive)
            doomed, alive = alive[:40], alive[40:]
            keys += keys_of(path, *doomed)
            for deletion in [store.delete_run(ALICE, run.run_id) for run in doomed]:
                deletion.result(WAIT_S)
    finally:
        is_done.set()
        writer.join()
    data = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert len(set(keys)) == len(keys) >= num_deletions
    assert [key for key in keys if key in data] == []
    assert b"marker" not in data


def test_a_deleted_visitor_leaves_no_row_and_no_byte(store: Store, path: Path) -> None:
    runs = [new_run(f"xyzzy {number}") for number in range(5)]
    for number, run in enumerate(runs):
        write(store, run, "xyzzy")
        write(store, new_run(f"plugh {number}", visitor_key=BOB), "plugh")
    keys = keys_of(path, *runs)
    assert occurrences(path, b"xyzzy") == occurrences(path, ALICE.encode()) == 0, "nothing is stored in the clear"
    assert all(occurrences(path, key) for key in keys)
    store.delete_visitor(ALICE).result()
    store.delete_visitor(ALICE).result()  # nothing left to delete
    assert [key for key in keys if occurrences(path, key)] == []
    assert listed(store, ALICE) == []
    assert counts(path) == [1, 5, 5, 15, 15, 5]
    assert len(listed(store, BOB)) == 5


def test_an_answer_that_comes_after_the_deletion_is_not_written(store: Store, run: NewRun, path: Path) -> None:
    store.delete_run(ALICE, run.run_id)
    for late in (store.save_answer(run.run_id, answer()), store.finish_run(run.run_id, RunStatus.FINISHED)):
        with pytest.raises(NotFoundError):
            late.result()
    assert counts(path) == [1, 0, 0, 0, 0, 0]


def test_a_start_finishes_a_deletion_that_was_cut_off(store: Store, run: NewRun, path: Path, tmp_path: Path) -> None:
    (key,) = keys_of(path, run)
    store.transact(lambda session: changes.delete_run(session, ALICE, run.run_id))
    (tmp_path / "dead").mkdir()
    left = Path(shutil.copy(path, tmp_path / "dead"))
    shutil.copy(f"{path}-wal", left.parent)
    assert occurrences(left, key) > 0
    successor = Store(f"sqlite:///{left}")
    assert occurrences(left, key) == 0
    successor.close()


def test_without_a_log_nothing_is_left_either(new_url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "use_wal", lambda engine: None)
    store = Store(new_url)
    doomed, kept = new_run("doomed"), new_run("kept")
    for run in (doomed, kept):
        store.start_run(run).result()
    (key,) = keys_of(path, doomed)
    assert not path.with_name("gac.db-wal").exists()
    store.delete_run(ALICE, doomed.run_id).result()
    assert occurrences(path, key) == 0
    assert [run.prompt for run in listed(store, ALICE)] == ["kept"]
    store.close()
