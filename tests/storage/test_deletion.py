"""What is deleted is gone: from the tables, and from the bytes of the files."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gac_app.errors import NotFoundError, StorageError
from gac_app.storage import AnswerRecord, NewRun, RunStatus, Store
from gac_app.storage.traces import pack_events
from tests.storage.samples import ALICE, BOB, MEMBERS, answer, new_run, token_event

TABLES = ("visitor_session", "conversation", "run", "answer", "trace", "vote")


def write(store: Store, run: NewRun, word: str) -> AnswerRecord:
    """Store a run whose every text holds `word`; give its last answer."""
    store.start_run(run)
    events = [token_event(f"{word}{position}", position) for position in range(300)]
    for name in ("ensemble", *MEMBERS):
        messages = [{"role": "user", "content": f"{word} asks"}]
        record = answer(f"{word} says " * 100, name, messages=messages, detail=f"{word} failed", events=events)
        store.save_answer(run.run_id, record)
    store.finish_run(run.run_id, RunStatus.FINISHED)
    store.vote(run.visitor_key, run.run_id, f"member:{word}").result()
    return record


def occurrences(path: Path, needle: bytes) -> int:
    return sum(file.read_bytes().count(needle) for file in path.parent.iterdir())


def counts(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    numbers = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES]
    connection.close()
    return numbers


def test_a_deleted_run_leaves_no_row_and_no_byte(store: Store, path: Path) -> None:
    doomed, kept = new_run("xyzzy " * 50, settings={"system_prompt": "xyzzy"}), new_run("plugh")
    steps = pack_events(write(store, doomed, "xyzzy").events)[200:264]
    write(store, kept, "plugh")
    assert occurrences(path, b"xyzzy") > 0
    assert occurrences(path, steps) > 0

    store.delete_run(ALICE, doomed.run_id).result()

    assert occurrences(path, b"xyzzy") == 0
    assert occurrences(path, steps) == 0
    assert counts(path) == [1, 1, 1, 3, 3, 1]
    assert store.load_run(ALICE, kept.run_id).outcome == "member:plugh"


def test_a_deleted_visitor_leaves_no_row_and_no_byte_and_others_stay(store: Store, path: Path) -> None:
    for number in range(5):
        write(store, new_run(f"xyzzy {number}"), "xyzzy")
        write(store, new_run(f"plugh {number}", visitor_key=BOB), "plugh")
    store.delete_visitor(ALICE).result()
    store.delete_visitor(ALICE).result()  # nothing left to delete
    assert occurrences(path, b"xyzzy") == 0
    assert store.list_runs(ALICE) == []
    assert counts(path) == [1, 5, 5, 15, 15, 5]
    assert len(store.list_runs(BOB)) == 5


def test_a_run_with_branches_and_a_conversation_outlive_one_of_their_runs(store: Store) -> None:
    first = new_run()
    branch = new_run(conversation_id=first.conversation_id, parent_run_id=first.run_id, branch_position=0)
    store.start_run(first)
    store.start_run(branch)
    store.delete_run(ALICE, first.run_id).result()
    (left,) = store.conversation_runs(ALICE, first.conversation_id)
    assert (left.run_id, left.parent_run_id) == (branch.run_id, None)


def test_an_answer_that_comes_after_the_deletion_is_not_written(store: Store, path: Path) -> None:
    run = new_run()
    store.start_run(run)
    store.delete_run(ALICE, run.run_id)
    for late in (store.save_answer(run.run_id, answer()), store.finish_run(run.run_id, RunStatus.FINISHED)):
        with pytest.raises(NotFoundError):
            late.result()
    assert counts(path) == [1, 0, 0, 0, 0, 0]


def test_a_deletion_says_so_while_a_reader_keeps_the_log(url: str, path: Path) -> None:
    store = Store(url, retry_s=0.3)
    run = new_run("xyzzy")
    store.start_run(run).result()
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM run").fetchall()
    with pytest.raises(StorageError, match="still holds it"):
        store.delete_run(ALICE, run.run_id).result()
    assert store.list_runs(ALICE) == []
    reader.close()
    store.delete_visitor(ALICE).result()
    assert occurrences(path, b"xyzzy") == 0
    store.close()
