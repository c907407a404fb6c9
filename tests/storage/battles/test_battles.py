"""Battles are encrypted, judgements only appended, and both move between databases without doubling."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from gac_app.errors import NotFoundError, RequestError
from gac_app.storage import NewBattle, NewJudgement, Store
from gac_app.storage.database import visitors
from tests.databases import database_in, sql, statements
from tests.storage.samples import ALICE, BOB, new_id
from tests.storage.test_deletion import occurrences

BODY = {"turns": [{"prompt": "xyzzy?", "left": {"text": "xyzzy é\u2028 \ud800"}, "right": {"text": "𝔊 مرحبا"}}]}
VOTE = NewJudgement(kind="vote", outcome="left", facts={"turn": 1, "left": {"chars": 7}})


def new_battle(visitor_key: str = ALICE, **changes: Any) -> NewBattle:
    battle = NewBattle(
        battle_id=new_id(), visitor_key=visitor_key, left="Smol", right="gate", body=BODY, origin="people",
        is_blind=True, language="en", config_hash="c0ffee",
    )  # fmt: skip
    return replace(battle, **changes)


def judged(store: Store, visitor_key: str = ALICE, **changes: Any) -> NewBattle:
    battle = new_battle(visitor_key, **changes)
    store.battles.start(battle)
    store.battles.judge(visitor_key, battle.battle_id, VOTE).result()
    return battle


def test_a_battle_comes_back_with_its_judgements(store: Store) -> None:
    battle = judged(store)
    store.battles.update(battle.battle_id, "answered", {**BODY, "more": 1})
    remark = {"comment": "plugh"}
    store.battles.judge(ALICE, battle.battle_id, NewJudgement(kind="remark", body=remark)).result()
    found = store.battles.load(ALICE, battle.battle_id)
    assert (found.left, found.right, found.status, found.body["more"]) == ("Smol", "gate", "answered", 1)
    assert found.body["turns"][0]["left"]["text"] == "xyzzy é\u2028 \ufffd"
    rows = [(row["kind"], row["outcome"], row["body"]) for row in found.judgements]
    assert rows == [("vote", "left", None), ("remark", "", remark)]
    with pytest.raises(NotFoundError):
        store.battles.load(BOB, battle.battle_id)


def test_the_database_itself_refuses_a_second_vote(store: Store, path: Path) -> None:
    battle = new_battle()
    store.battles.start(battle)
    remark = NewJudgement(kind="remark", body={})
    with pytest.raises(RequestError, match="Vote first"):
        store.battles.judge(ALICE, battle.battle_id, remark).result()
    store.battles.judge(ALICE, battle.battle_id, VOTE).result()
    with pytest.raises(NotFoundError):
        store.battles.judge(BOB, battle.battle_id, remark).result()
    with pytest.raises(RequestError, match="judged this battle already"):
        store.battles.judge(ALICE, battle.battle_id, VOTE).result()
    store.battles.start(skipped := new_battle())
    store.battles.update(skipped.battle_id, "skipped")
    with pytest.raises(RequestError, match="can no longer be judged"):
        store.battles.judge(ALICE, skipped.battle_id, VOTE).result()
    assert store.num_errors == 0
    columns = "id, battle_id, position, kind, facts, created_at"
    with pytest.raises(sqlite3.IntegrityError):
        sql(path, f"INSERT INTO judgement ({columns}) VALUES ('x', ?, 0, 'vote', '', '')", battle.battle_id)


def test_what_is_deleted_is_gone_with_its_key(store: Store, path: Path) -> None:
    doomed, kept = judged(store), judged(store, BOB)
    query = "SELECT key FROM battle JOIN run_key ON run_key.id = battle.key_id WHERE battle.id = ?"
    [(key,)] = sql(path, query, doomed.battle_id)
    assert occurrences(path, b"xyzzy") == 0
    assert occurrences(path, key) > 0
    store.delete_visitor(ALICE).result()
    assert occurrences(path, key) == 0
    assert [row.battle_id for row in store.battles.votes()] == [kept.battle_id]
    with pytest.raises(NotFoundError):
        store.delete_battle(ALICE, kept.battle_id).result()
    store.delete_battle(BOB, kept.battle_id).result()
    assert store.battles.votes() == []
    with pytest.raises(NotFoundError):
        store.battles.update(kept.battle_id, "answered", BODY).result()


def test_an_export_pages_and_leaves_damaged_battles_out(store: Store, path: Path) -> None:
    ids = [judged(store).battle_id for _ in range(103)]
    with statements(store.engine) as told:
        assert [battle.battle_id for battle in store.battles.export()] == ids
    assert len(told) == 3 + 2 * 2, "three pages, of which one is empty, and their battles and judgements"
    assert list(store.battles.export(BOB)) == []
    sql(path, "UPDATE battle SET body = x'00' WHERE id = ?", ids[5])
    assert [battle.battle_id for battle in store.battles.export(ALICE)] == [*ids[:5], *ids[6:]]


def test_another_server_knows_what_can_still_be_judged(store: Store, url: str) -> None:
    other, command = Store(url, server="another"), Store(url, server="")
    opened, void, told, running = (new_battle() for _ in range(4))
    for battle in (opened, void, told, running):
        store.battles.start(battle)
    for battle in (opened, told):
        store.battles.update(battle.battle_id, "answered", BODY)
    store.battles.update(void.battle_id, "void", BODY)
    store.battles.judge(ALICE, told.battle_id, VOTE).result()
    for elsewhere in (store, other, command):
        known = elsewhere.battles
        assert {one.battle_id for one in known.export()} == {void.battle_id, told.battle_id}
        assert [bool(known.holding(one.battle_id)) for one in (opened, told)] == [True, False]
        assert [vote.battle_id for vote in known.cast()] == [told.battle_id]
    store.close()
    held = [bool(other.battles.holding(one.battle_id)) for one in (opened, running)]
    assert held == [True, False], "a server that has ended answers nothing, and can judge once it is started again"
    other.close()
    command.close()


def test_an_observer_who_is_told_of_a_vote_can_read_it(store: Store) -> None:
    seen = list[str]()

    class Notes:
        def changed(self, battle_id: str) -> None:
            found = store.battles.find(battle_id)
            seen.append(found.outcome if found else "gone")

        def deleted(self, ids: Sequence[str]) -> None:
            seen.extend(ids)

    store.database.observer = Notes()
    battle = judged(store)
    assert seen[-1] == "left"
    store.delete_battle(ALICE, battle.battle_id).result()
    assert seen[-1] == battle.battle_id


def test_battles_to_publish_are_found_without_a_key(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("gac_app.storage.battles.queries.decrypt_json")
    agreed = {**BODY, "consent": True}
    kept = judged(store, body=agreed)
    judged(store)
    store.battles.start(new_battle(body=agreed)).result()
    store.battles.judge(ALICE, kept.battle_id, NewJudgement(kind="remark", body={})).result()
    assert store.battles.agreed() == [kept.battle_id]


def test_what_was_judged_here_since_counts(store: Store, other: Store) -> None:
    """A vote got a remark here, and another one where it was copied to."""
    battle = judged(store)
    other.import_records([], list(store.battles.export())).result()
    (copied,) = other.battles.export()
    store.battles.judge(ALICE, battle.battle_id, NewJudgement(kind="remark", body={})).result()
    remark = {**copied.judgements[0], "id": new_id(), "position": 1, "kind": "remark", "outcome": "", "body": {}}
    later = replace(copied, judgements=(*copied.judgements, remark))
    assert store.import_records([], [later]).result() == (0, 0)
    assert remark["id"] not in {row["id"] for row in store.battles.load(ALICE, battle.battle_id).judgements}
    assert other.import_records([], [later]).result() == (1, 0)
    moment = "2099-01-01T00:00:00+00:00"
    newest = {**remark, "body": {"comment": "later"}, "created_at": moment}
    both = replace(copied, judgements=(*copied.judgements, newest)), later
    for known in both:  # of one remark, the later one stays
        other.import_records([], [known]).result()
    (found,) = other.battles.export()
    assert found.judgements[1]["body"] == {"comment": "later"}


def test_a_reader_of_votes_is_told_what_came_and_went(store: Store) -> None:
    first, second = judged(store), judged(store, BOB)
    assert store.battles.votes_version() == (2, 2)
    known = store.battles.news(0, 0)
    assert ([row.battle_id for row in known.added], known.left) == ([first.battle_id, second.battle_id], None)
    store.battles.give_verdict([first.battle_id], "dropped").result()
    third = judged(store)
    news = store.battles.news(2, 2)
    assert ([row.battle_id for row in news.added], news.left) == ([third.battle_id], {2, 3})
    assert store.battles.votes_version() == (2, 3)
    store.delete_visitor(BOB).result()
    assert store.battles.votes_version() == (1, 3), "numbers are not used again"
    assert store.battles.news(3, 2).left == {3}


def test_keys_of_addresses_rotate_and_are_deleted(store: Store, path: Path) -> None:
    first = store.battles.client_keys(10).result()
    assert (first.keys(), len(set(first.values()))) == ({9, 10, 11}, 3)
    assert store.battles.client_keys(10).result() == first, "on every server"
    later = store.battles.client_keys(12).result()
    assert (later.keys(), later[11]) == ({11, 12, 13}, first[11])
    assert sql(path, "SELECT period FROM client_key ORDER BY 1") == [(11,), (12,), (13,)]


def test_a_vote_has_its_facts_in_columns(store: Store) -> None:
    battle = new_battle()
    store.battles.start(battle)
    side = {"chars": 7, "headings": 1, "lists": 2, "bold": 3, "ms_per_token": 1.5}
    facts = {"turn": 2, "flags": ["fast"], "left": side, "right": {"passes_per_token": 2.5}}
    store.battles.judge(ALICE, battle.battle_id, replace(VOTE, facts=facts)).result()
    (row,) = store.battles.votes()
    (stored,) = store.battles.load(ALICE, battle.battle_id).judgements
    assert row.voted_s == datetime.fromisoformat(stored["created_at"]).timestamp()
    assert (row.left, row.right, row.turn, row.is_flagged) == ("Smol", "gate", 2, True)
    assert row[13:] == (7, 1, 2, 3, 1.5, None, 0, 0, 0, 0, None, 2.5)


def test_votes_of_an_import_go_to_whom_they_belong(store: Store, other: Store) -> None:
    judged(store)
    judged(other)
    other.import_records([], list(store.battles.export())).result()
    assert len(other.battles.votes(ALICE)) == 1
    num, newest = other.battles.votes_version()
    other.adopt(ALICE).result()
    news = other.battles.news(newest, num)
    assert ({row.visitor_id for row in news.added}, len(news.left or ())) == ({1}, 2), "who has read votes hears of it"
    store.battles.give_verdict([battle.battle_id for battle in store.battles.export()], "restored").result()
    other.import_records([], list(store.battles.export())).result()
    assert len(other.battles.votes(ALICE)) == len(other.battles.votes()) == 2, "a vote stands beside a later verdict"


def test_a_new_visitor_gets_the_imports_of_two_databases(store: Store, other: Store, tmp_path: Path) -> None:
    third = Store(database_in(tmp_path / "third.db"))
    for one in (store, third):
        judged(one)
        other.import_records([], list(one.battles.export())).result()
    third.close()
    other.adopt(ALICE).result()
    assert len(other.battles.votes(ALICE)) == len(other.battles.votes()) == 2


def test_an_imported_visitor_is_looked_at_once(store: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(store)
    judged(store, BOB)
    monkeypatch.setattr(visitors, "is_pseudonym_of", hashed := Mock(wraps=visitors.is_pseudonym_of))
    other.import_records([], list(store.battles.export(BOB))).result()
    for _ in range(3):
        assert not other.has_imported(ALICE)
    assert hashed.call_count == 1
    other.import_records([], list(store.battles.export())).result()
    assert other.has_imported(ALICE)
    assert hashed.call_count == 2, "what came since"
