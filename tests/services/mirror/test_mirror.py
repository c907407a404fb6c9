"""What visitors agree to publish is copied, deletions are marked, and an empty database is filled again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from gac_app.services.mirror import consent
from gac_app.services.mirror.consent import Consents
from gac_app.services.mirror.exports import Exports
from gac_app.services.mirror.files import ImportResult, import_files
from gac_app.services.mirror.mirror import FIRST_COPIES, Mirror
from gac_app.services.mirror.places import Place
from gac_app.services.visitors import owner_of
from gac_app.storage import HistoryFilter, Store
from tests.services.battles.test_arena import Arena
from tests.services.house import ALICE, BOB, SHORT, House, answer, ended, until


@contextmanager
def opened(folder: Path, name: str, place: Place | None = None) -> Iterator[tuple[Arena, Mirror]]:
    """An arena over a database of that name, with a mirror in `folder`; both closed at the end."""
    house = House(folder / f"{name}.db")
    arena = mirrored(house, place or Place(folder / "mirror"))
    arena.runs.read_mirror()
    try:
        yield arena, mirror_of(arena)
    finally:
        house.close()


def mirrored(house: House, place: Place) -> Arena:
    """An arena whose mirror is not read yet."""

    def started(store: Store) -> Mirror:
        mirror = Mirror(store, place, first_delay_s=0.05)
        mirror.start()
        return mirror

    return Arena(house, mirror=started)


def mirror_of(arena: Arena) -> Mirror:
    assert arena.runs.mirror
    return arena.runs.mirror


def lines(folder: Path) -> list[dict[str, Any]]:
    """All lines that are there whole: the last one may still be written, and others be erased."""
    files = sorted((folder / "mirror").glob("gac-*.jsonl"))
    found = [line for file in files for line in file.read_text().split("\n")[:-1]]
    return [json.loads(line) for line in found if line.endswith("}")]


def settled(mirror: Mirror) -> None:
    until(lambda: mirror.is_restored and not mirror.num_waiting, "for the mirror")


def voted(arena: Arena, key: str = ALICE, **more: Any) -> str:
    view = arena.answered(key=key, **more)
    arena.service.judge.vote(key, view.id, "left", view.ballot)
    return view.id


def ids(folder: Path) -> list[str]:
    """What the files tell of, line by line."""
    return [id_of(line) for line in lines(folder) if "deleted" not in line]


def id_of(line: dict[str, Any]) -> str:
    return str(line.get("battle_id") or line["run_id"])


def consenting_run(arena: Arena) -> str:
    arena.runs.set_consent(ALICE, True)
    return answer(arena.runs).id


def test_the_mirror_is_read_once_the_page_is_up(tmp_path: Path) -> None:
    """Who went on before that is still one visitor, whose conversations go on."""
    with opened(tmp_path, "one") as (arena, mirror):
        arena.runs.set_consent(ALICE, True)
        battle, conversation = voted(arena, consents=True), answer(arena.runs).conversation_id
        settled(mirror)
    house = House(tmp_path / "two.db")
    arena = mirrored(house, Place(tmp_path / "mirror"))
    mirror, copied = mirror_of(arena), consenting_run(arena)
    until(lambda: copied in ids(tmp_path), "for what came before the page was up")
    assert not mirror.is_restored
    assert list(arena.store.battles.export()) == []
    arena.runs.read_mirror()
    settled(mirror)
    assert len(arena.runs.history.conversations(ALICE, HistoryFilter())) == 2, "of who came while it was read, too"
    assert [one.battle_id for one in arena.store.battles.export()] == [battle]
    assert arena.store.battles.load(ALICE, battle).judgements
    assert len(ended(arena.runs.start(ALICE, "And then?", SHORT, conversation)).turns) == 1
    settled(mirror)
    assert len({line["visitor"] for line in lines(tmp_path)}) == 2, "before the mirror was read, and as of then"
    assert sum(one.num_runs for one in arena.runs.history.conversations(ALICE, HistoryFilter())) == 3
    arena.runs.history.delete_all(ALICE)
    assert list(Exports(arena.store).lines()) == []
    house.close()


def test_of_a_mirror_s_files_the_last_word_is_imported(tmp_path: Path, house: House) -> None:
    with opened(tmp_path, "one") as (arena, mirror):
        run, battle = consenting_run(arena), voted(arena, consents=True)
        settled(mirror)
        for outcome in ("ensemble", None, "tie"):
            arena.runs.history.vote(ALICE, run, outcome) if outcome else arena.runs.history.undo_vote(ALICE, run)
            settled(mirror)
            assert (lines(tmp_path)[-1]["vote"] or {}).get("outcome") == outcome
        (file,) = (tmp_path / "mirror").iterdir()
        told = tmp_path / "told.jsonl"
        told.write_bytes(file.read_bytes() + b"no json\n")
        arena.service.battles.delete(ALICE, battle)
    store = house.store()
    found = import_files(store, [told, file])
    assert found == ImportResult(1, 0, 1, 1), "also of what is deleted in another file"
    assert f"told.jsonl, line {len(told.read_bytes().splitlines())}: invalid JSON" in found.reasons
    store.adopt(ALICE).result()
    assert store.load_run(ALICE, run).outcome == "tie"
    store.close()
    own = Store(f"sqlite:///{tmp_path / 'one.db'}", server="")
    assert import_files(own, [told]) == ImportResult(0, 1, 1, 1)
    own.close()


def test_a_run_judged_again_and_again_is_copied_now_and_then(tmp_path: Path) -> None:
    with opened(tmp_path, "one") as (arena, mirror):
        run = consenting_run(arena)
        for outcome in ("ensemble", "tie") * 4:
            arena.runs.history.vote(ALICE, run, outcome)
            later = consenting_run(arena)
            until(lambda later=later: later in ids(tmp_path), "for what came after it")
        until(lambda: mirror.num_waiting == 1, "for the end of the last copy")
        assert ids(tmp_path).count(run) == FIRST_COPIES
    last = [line for line in lines(tmp_path) if id_of(line) == run][-1]
    assert last["vote"]["outcome"] == "tie"


def implied(arena: Arena, run_id: str) -> str:
    """A battle that a vote on a run implied up to release 1.1, with the run's messages."""
    voted(arena, key=BOB)
    (known,) = arena.store.battles.export()
    (answer, *_) = arena.store.exported_run(run_id)["answers"]
    side = {**known.body["turns"][0]["left"], "messages": answer["messages"]}
    body = {**known.body, "turns": [{"prompt": "And then?", "left": side, "right": side}]}
    rows = tuple({**row, "id": uuid4().hex} for row in known.judgements)
    old = replace(known, battle_id=uuid4().hex, run_id=run_id, origin="compare", body=body, judgements=rows)
    assert arena.store.import_records([], [old]).result() == (1, 0)
    return old.battle_id


def test_earlier_turns_in_lines_of_earlier_releases_are_erased(tmp_path: Path) -> None:
    with opened(tmp_path, "one") as (arena, mirror):
        first = answer(arena.runs, "Not agreed to")
        arena.runs.set_consent(ALICE, True)
        run = ended(arena.runs.start(ALICE, "And then?", SHORT, first.conversation_id))
        agreed = {run.id, implied(arena, run.id)}
        settled(mirror)
        whole = [line for line in Exports(arena.store).lines() if id_of(json.loads(line)) in agreed]
    (file,) = (tmp_path / "mirror").iterdir()
    file.write_text("".join(whole))
    assert [line.count("Not agreed to") > 0 for line in whole] == [True, True]
    for _ in range(2):
        with opened(tmp_path, "one") as (_, mirror):
            settled(mirror)
        assert (sorted(ids(tmp_path)), "Not agreed" in str(lines(tmp_path))) == (sorted(agreed), False)


@pytest.mark.parametrize("is_killed", [False, True])
def test_what_is_deleted_is_marked_and_not_brought_back(
    tmp_path: Path, is_killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a server that is killed before it erases the lines, or by another one that has read them."""
    with opened(tmp_path, "one") as (arena, mirror), monkeypatch.context() as killed:
        killed.setattr(mirror, "_erase", lambda: mirror._erased_next.clear())
        run, battle = consenting_run(arena), voted(arena, consents=True)
        kept = voted(arena, key=BOB, consents=True)
        settled(mirror)
        if is_killed:
            arena.runs.history.delete_all(ALICE)
            assert "deleted" in lines(tmp_path)[-1], "it is marked before the deletion is acknowledged"
    if not is_killed:
        with opened(tmp_path, "another") as (arena, mirror):
            settled(mirror)
            arena.runs.history.delete_all(ALICE)
            settled(mirror)
        assert ids(tmp_path) == [kept], "no line has its text"
    with opened(tmp_path, "two") as (arena, mirror):
        settled(mirror)
        assert ids(tmp_path) == [kept]
        stored = list(map(json.loads, Exports(arena.store).lines()))
    assert {run, battle, kept} & {line.get("battle_id") or line["run_id"] for line in stored} == {kept}


def test_one_browser_that_says_no_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consent, "MAX_BROWSERS", 2)
    consents, owner = Consents(), owner_of(ALICE)
    assert not consents.has(owner)
    for browser in ("laptop", "phone", "tablet", "television"):
        consents.set(ALICE, True, browser)
    assert (consents.has(owner), consents.has(owner_of(BOB))) == (True, False)
    for browser in ("phone", "tablet"):  # one is beyond those that are told apart
        consents.set(ALICE, False, browser)
        assert not consents.has(owner)
        consents.set(ALICE, True, "laptop")
        assert not consents.has(owner)
        consents.set(ALICE, True, browser)
        assert consents.has(owner) is (browser == "phone")
