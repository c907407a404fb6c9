from __future__ import annotations

import threading
import zlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import DateTime
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import Session

from gac_app.errors import NotFoundError, StorageError
from gac_app.storage import RunStatus, Store
from gac_app.storage.database.database import DeletedIds, when_written
from gac_app.storage.database.tables import UtcDateTime
from tests.storage.samples import ALICE, BOB, answer, listed, new_id, new_run


def test_a_run_comes_back_whole(store: Store) -> None:
    run = new_run()
    records = {name: answer(f"{name} says", name) for name in ("Gemma", "ensemble", "Smol")}
    store.start_run(run).result()
    for record in records.values():
        store.save_answer(run.run_id, record).result()
    store.finish_run(run.run_id, RunStatus.FINISHED).result()
    store.vote(ALICE, run.run_id, "member:Gemma").result()

    stored = store.load_run(ALICE, run.run_id)

    assert stored.answers == (records["ensemble"], records["Smol"], records["Gemma"])
    assert (stored.prompt, stored.settings, stored.member_names) == (run.prompt, run.settings, run.member_names)
    assert (stored.config_hash, stored.versions) == (run.config_hash, run.versions)
    assert (stored.status, stored.outcome, stored.position) == (RunStatus.FINISHED, "member:Gemma", 0)
    assert stored.finished_at is not None
    assert timedelta(0) <= stored.finished_at - stored.created_at < timedelta(minutes=1)
    assert abs(datetime.now(UTC) - stored.created_at) < timedelta(minutes=1)


def test_the_writing_thread_packs_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes seconds for a long answer, while votes would wait."""
    compress, threads = zlib.compress, list[str]()

    def note(data: bytes) -> bytes:
        threads.append(threading.current_thread().name)
        return compress(data)

    monkeypatch.setattr(zlib, "compress", note)
    run = new_run()
    store.start_run(run)
    store.save_answer(run.run_id, answer()).result()
    store.save_study(ALICE, new_id(), {"name": "a study"}, {"tables": []}).result()
    assert set(threads) == {threading.current_thread().name}
    assert len(threads) == 3, "steps, their outline, a study"


def test_an_answer_saved_again_replaces_the_first(store: Store) -> None:
    run = new_run()
    store.start_run(run)
    store.save_answer(run.run_id, answer("half"))
    store.save_answer(run.run_id, answer("whole")).result()
    assert [stored.finished.text for stored in store.load_run(ALICE, run.run_id).answers] == ["whole"]


def test_a_run_id_serves_once(store: Store) -> None:
    run = new_run("first")
    store.start_run(run).result()
    with pytest.raises(StorageError, match=r"(?i)unique"):
        store.start_run(new_run("second", run_id=run.run_id)).result()
    assert store.load_run(ALICE, run.run_id).prompt == "first"
    assert store.num_errors == 1


def test_nobody_writes_into_anothers_conversation(store: Store) -> None:
    run = new_run()
    store.start_run(run).result()
    for intruder in (
        new_run(visitor_key=BOB, conversation_id=run.conversation_id),
        new_run(visitor_key=BOB, parent_run_id=run.run_id),
        new_run(visitor_key=""),
    ):
        with pytest.raises(NotFoundError):
            store.start_run(intruder).result()
    assert len(store.conversation_runs(ALICE, run.conversation_id)) == 1
    assert listed(store, BOB) == []


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00.5+02:00", "0999-12-31T23:59:59Z", "9999-01-01T00:00:00-01:00"])
def test_times_are_written_as_sqlalchemy_does(text: str) -> None:
    moment, dialect = datetime.fromisoformat(text), sqlite.dialect()
    ours, its = (kind.dialect_impl(dialect).bind_processor(dialect) for kind in (UtcDateTime(), DateTime()))
    assert ours
    assert its
    assert ours(moment) == its(moment.astimezone(UTC))
    assert ours(None) is None


def test_an_observer_is_told_of_all_that_a_write_touched(store: Store) -> None:
    told, seen = list[str](), list[str | None]()

    class Notes:
        def changed(self, key: str) -> None:
            told.append(key)
            with suppress(NotFoundError):
                seen.append(store.load_run(ALICE, key).outcome)

        def deleted(self, ids: DeletedIds) -> None: ...

    store.database.observer = Notes()

    def touch(session: Session) -> None:
        when_written(session, lambda observer: observer.changed("a"))
        for name in ("b", "c"):
            when_written(session, lambda observer, name=name: observer.changed(name))

    store.database.write(touch).result()
    store.database.write(lambda _: None).result()
    assert told == ["a", "b", "c"]
    run = new_run()
    store.start_run(run).result()
    told.clear()
    store.vote(ALICE, run.run_id, "tie").result()
    assert (told, seen) == ([run.run_id], ["tie"]), "who is told can read it"
