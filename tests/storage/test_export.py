from __future__ import annotations

import json
from pathlib import Path

import pytest

from gac_app.decoding.trace.serialise import token_from_json
from gac_app.storage import NewBattle, RunStatus, Store
from gac_app.storage.database import paging
from tests.databases import sql, statements
from tests.storage.samples import ALICE, BOB, answer, new_id, new_run


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


def test_a_long_export_is_in_order_and_lets_writers_in(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_an_export_reads_many_battles_with_each_statement(store: Store) -> None:
    for _ in range(12):
        battle = NewBattle(
            battle_id=new_id(), visitor_key=ALICE, left="a", right="b", body={}, origin="people", is_blind=True
        )
        store.battles.start(battle).result()
    with statements(store.engine) as told:
        assert len(list(store.battles.export())) == 12
    assert len(told) == 2 + 2, "two pages, of which one is empty, and their battles and judgements"
