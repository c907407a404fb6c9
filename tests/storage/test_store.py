"""Runs and results of studies as they are stored and exported, and whose they are."""

from __future__ import annotations

import ast
import json
import re
import threading
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import DateTime
from sqlalchemy.dialects import sqlite
from sqlalchemy.orm import Session

import gac_app
from gac_app.decoding.trace.serialise import token_from_json
from gac_app.errors import DamagedError, NotFoundError, StorageError
from gac_app.storage import NewRun, RunStatus, Store
from gac_app.storage.database import paging
from gac_app.storage.database.database import when_written
from gac_app.storage.database.tables import UtcDateTime
from gac_app.storage.database.visitors import is_pseudonym_of, new_pseudonym
from tests.databases import sql
from tests.storage.samples import ALICE, BOB, answer, listed, new_id, new_run


def test_a_run_comes_back_whole(store: Store) -> None:
    run = new_run()
    records = {name: answer(f"{name} says", name) for name in ("Gemma", "ensemble", "Smol")}
    store.start_run(run).result()
    for record in (answer("half", "Gemma"), *records.values()):
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
    compress, threads = zlib.compress, list[threading.Thread]()
    monkeypatch.setattr(zlib, "compress", lambda data: threads.append(threading.current_thread()) or compress(data))
    run = new_run()
    store.start_run(run)
    store.save_answer(run.run_id, answer()).result()
    store.save_study(ALICE, new_id(), {"name": "a study"}, {"tables": []}).result()
    assert set(threads) == {threading.current_thread()}
    assert len(threads) == 3, "steps, their outline, a study"


def test_nobody_writes_into_anothers_conversation_or_run(store: Store, run: NewRun) -> None:
    for intruder in (
        new_run(visitor_key=BOB, conversation_id=run.conversation_id),
        new_run(visitor_key=BOB, parent_run_id=run.run_id),
        new_run(visitor_key=""),
    ):
        with pytest.raises(NotFoundError):
            store.start_run(intruder).result()
    assert len(store.conversation_runs(ALICE, run.conversation_id)) == 1
    assert listed(store, BOB) == []
    with pytest.raises(StorageError, match=r"(?i)unique"):
        store.start_run(new_run("second", run_id=run.run_id)).result()
    assert store.load_run(ALICE, run.run_id).prompt == run.prompt
    assert store.num_errors == 1


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00.5+02:00", "0999-12-31T23:59:59Z", "9999-01-01T00:00:00-01:00"])
def test_times_are_written_as_sqlalchemy_does(text: str) -> None:
    moment, dialect = datetime.fromisoformat(text), sqlite.dialect()
    ours, its = (kind.dialect_impl(dialect).bind_processor(dialect) for kind in (UtcDateTime(), DateTime()))
    assert ours
    assert its
    assert ours(moment) == its(moment.astimezone(UTC))
    assert ours(None) is None


def test_an_observer_is_told_of_all_that_a_write_touched(store: Store) -> None:
    told = list[str]()

    class Notes:
        def changed(self, key: str) -> None:
            told.append(key)

        def deleted(self, ids: Sequence[str]) -> None: ...

    store.database.observer = Notes()

    def touch(session: Session) -> None:
        when_written(session, lambda observer: observer.changed("a"))
        for name in ("b", "c"):
            when_written(session, lambda observer, name=name: observer.changed(name))

    store.database.write(touch).result()
    store.database.write(lambda _: None).result()
    assert told == ["a", "b", "c"]


HEAD, BODY = {"name": "é", "study": "eval"}, {"tables": [["xyzzy"]]}


def saved(store: Store, path: Path, *keys: str) -> list[str]:
    """The ids of a result of each of these visitors, a day apart."""
    ids = [new_id() for _ in keys]
    for day, (key, study_id) in enumerate(zip(keys, ids, strict=True), 1):
        store.save_study(key, study_id, HEAD, BODY).result()
        sql(path, "UPDATE study SET created_at = ? WHERE id = ?", f"2026-01-0{day} 00:00:00.000000", study_id)
    return ids


def test_a_visitor_sees_their_own_newest_first(store: Store, path: Path) -> None:
    first, bobs, last = saved(store, path, ALICE, BOB, ALICE)
    mine = [(one.study_id, one.head, one.body) for one in store.list_studies(ALICE)]
    assert mine == [(last, HEAD, {}), (first, HEAD, {})]
    assert [one.study_id for one in store.all_studies()] == [last, bobs, first]
    for head in (HEAD, {**HEAD, "name": "of today"}):
        store.rename_study(ALICE, first, head["name"]).result()
        found = store.load_study(ALICE, first)
        assert (found.study_id, found.head, found.body) == (first, head, BODY)


def test_a_damaged_result_is_listed_without_a_head(store: Store, path: Path) -> None:
    headless, bodiless = saved(store, path, ALICE, ALICE)
    sql(path, "UPDATE study SET head = x'00' WHERE id = ?", headless)
    sql(path, "UPDATE study SET body = x'00' WHERE id = ?", bodiless)
    assert [(one.study_id, one.head) for one in store.list_studies(ALICE)] == [(bodiless, HEAD), (headless, {})]
    for study_id in (headless, bodiless):
        with pytest.raises(DamagedError):
            store.load_study(ALICE, study_id)
        store.delete_study(ALICE, study_id).result()
    assert store.list_studies(ALICE) == []


def test_only_the_key_tells_whose_a_pseudonym_is() -> None:
    found = {new_pseudonym(ALICE) for _ in range(100)}
    assert len(found) == 100
    assert all(len(one) == 32 and is_pseudonym_of(ALICE, one) for one in found)
    assert not any(is_pseudonym_of(BOB, one) for one in found)
    assert not any(is_pseudonym_of(ALICE, one) for one in ("7", "", "f" * 32, "é" * 40))


def test_keys_are_compared_in_constant_time() -> None:
    secret = re.compile(r"(\w*\.)*(owner|proof|visitor_key)|(owner_of|_proof)\(.*\)")
    for folder in ("services", "storage", "server", "ui"):
        for path in (Path(gac_app.__file__).parent / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                    continue
                sides = [node.left, *node.comparators]
                assert not any(secret.fullmatch(ast.unparse(side)) for side in sides), f"{path}: {ast.unparse(node)}"


def test_everything_is_exported_and_nobody_is_named(store: Store, path: Path) -> None:
    run, other = new_run("erste Frage"), new_run("second", visitor_key=BOB)
    record = answer("Bläulich")
    store.start_run(run)
    store.save_answer(run.run_id, record)
    store.finish_run(run.run_id, RunStatus.FINISHED)
    store.start_run(other)
    store.vote(ALICE, run.run_id, "tie").result()
    exported = [json.loads(json.dumps(item, allow_nan=False)) for item in store.export()]
    first, second = exported
    assert (first["prompt"], first["status"], first["vote"]["outcome"]) == ("erste Frage", "finished", "tie")
    assert (second["prompt"], second["vote"], second["answers"]) == ("second", None, [])
    assert first["visitor"] != second["visitor"]
    (stored,) = first["answers"]
    assert (stored["text"], stored["members"]["Smol"]["num_forwards"]) == ("Bläulich", 2)
    end = ("num_tokens", "num_ensembled", "ttft_s", "seconds", "digest", "is_reproducible")
    assert {name: stored[name] for name in end} == {name: getattr(record.finished, name) for name in end}
    assert tuple(map(token_from_json, stored["steps"])) == record.events
    hashes = [key_hash for (key_hash,) in sql(path, "SELECT key_hash FROM visitor_session")]
    text = json.dumps(exported)
    assert len(hashes) == 2
    assert not any(secret in text for secret in (ALICE, BOB, *hashes))


def test_long_exports_are_ordered_and_let_writers_in(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of one time come by their ids."""
    monkeypatch.setattr(paging, "PAGE", 3)
    runs = [new_run(f"prompt {number}") for number in range(3)]
    together = sorted((new_run(f"together {number}") for number in range(7)), key=lambda run: run.run_id)
    for run in (*runs, *together[::-1]):
        store.start_run(run).result()
    for run in together:
        sql(path, "UPDATE run SET created_at = '2999-01-01 00:00:00.000000' WHERE id = ?", run.run_id)
    exporting = store.export()
    prompts = [next(exporting)["prompt"]]
    store.delete_run(ALICE, runs[1].run_id).result()  # on this page
    store.delete_run(ALICE, together.pop(4).run_id).result()  # on a later one
    new = new_run("new")
    store.start_run(new).result()
    sql(path, "UPDATE run SET created_at = '2999-01-02 00:00:00.000000' WHERE id = ?", new.run_id)
    prompts += [item["prompt"] for item in exporting]
    assert prompts == ["prompt 0", "prompt 2", *(run.prompt for run in together), "new"]


def test_a_run_whose_position_is_taken_comes_last(store: Store, other: Store) -> None:
    run = new_run("elsewhere")
    store.start_run(run).result()
    (line,) = store.export()
    gone, *_ = runs = [new_run(prompt, conversation_id=run.conversation_id) for prompt in ("gone", "here", "and here")]
    for one in runs:
        other.start_run(one).result()
    other.delete_run(ALICE, gone.run_id).result()
    other.import_records([{**line, "position": 2}], []).result()
    positions = {one["prompt"]: one["position"] for one in other.export()}
    assert positions == {"here": 1, "and here": 2, "elsewhere": 3}
