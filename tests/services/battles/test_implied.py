"""A vote on Compare is kept as what it says of each pair, not blind, and goes with its run."""

from __future__ import annotations

import sqlite3

import pytest

from gac_app.arena.outcomes import Outcome
from gac_app.errors import RequestError, StorageError
from gac_app.services.battles.implied import implied_by, implied_outcomes
from gac_app.services.battles.records import answer_record, side_facts, side_record
from gac_app.services.mirror.exports import Exports
from gac_app.services.queue.shares import client_of, client_today
from gac_app.services.runs.runs import config_hash_of
from tests.services.battles.test_arena import Arena, locked, locked_out
from tests.services.house import ALICE, BOB, SHORT, VERSIONS, House, answer, ended, texts, until

STREAMS = ["ensemble", "member:a", "member:b"]


@pytest.mark.parametrize(
    ("outcome", "pairs"),
    [
        ("ensemble", {("ensemble", "member:a"): "left", ("ensemble", "member:b"): "left"}),
        ("member:b", {("ensemble", "member:b"): "right", ("member:a", "member:b"): "right"}),
        ("tie", {("ensemble", "member:a"): "tie", ("ensemble", "member:b"): "tie", ("member:a", "member:b"): "tie"}),
    ],
)
def test_a_vote_implies_pairs(outcome: str, pairs: dict[tuple[str, str], str]) -> None:
    assert implied_outcomes(outcome, STREAMS) == pairs
    assert set(implied_outcomes("all-bad", STREAMS).values()) == {Outcome.BOTH_BAD}


def test_votes_on_compare_are_stored_changed_and_taken_back(house: House) -> None:
    arena = Arena(house)
    run = answer(arena.runs)
    arena.runs.history.vote(ALICE, run.id, "member:b")
    votes = arena.store.battles.votes()
    assert [(row.left, row.right, row.outcome) for row in votes] == [("gate", "b", "right"), ("a", "b", "right")]
    assert {row.origin for row in votes} == {"compare"}
    assert not any(battle.is_blind for battle in arena.store.battles.export())
    arena.runs.history.vote(ALICE, run.id, "ensemble")
    arena.runs.history.vote(ALICE, run.id, "ensemble")
    assert {(row.left, row.right): row.outcome for row in arena.store.battles.votes()} == {
        ("gate", "a"): "left",
        ("gate", "b"): "left",
    }
    (kept,) = [one for one in arena.store.battles.export() if (one.left, one.right) == ("gate", "b")]
    assert kept.body["turns"][0]["right"]["text"] == run.streams["member:b"].text
    assert [row["kind"] for row in kept.judgements] == ["vote", "undo", "vote", "undo", "vote"]
    arena.runs.history.undo_vote(ALICE, run.id)
    assert arena.store.battles.votes() == []
    arena.runs.history.vote(ALICE, run.id, "tie")
    assert len(arena.store.battles.votes()) == 3
    arena.runs.history.delete_run(ALICE, run.id)
    assert arena.store.battles.votes() == []
    assert list(arena.store.battles.export()) == []


def test_all_of_an_implied_battle_is_stored(house: House) -> None:
    arena = Arena(house)
    first = answer(arena.runs)
    run = ended(arena.runs.start(ALICE, "And which of them do you like best of all?", SHORT, first.conversation_id))
    client = client_of("192.0.2.1")
    [(battle, vote), _] = implied_by(arena.runs.config, VERSIONS)(ALICE, run, None, "member:b", client)
    left, right = run.streams["ensemble"], run.streams["member:b"]
    assert battle.body == {
        "sides": {
            "left": side_record("gate", None, run.settings),
            "right": side_record("b", "b", run.settings),
        },
        "turns": [{"prompt": run.prompt, "left": answer_record(left), "right": answer_record(right)}],
        "versions": VERSIONS,
        "consent": False,
    }
    assert (battle.visitor_key, battle.run_id, battle.client) == (ALICE, run.id, client_today(client))
    assert (battle.left, battle.right, battle.origin, battle.is_blind) == ("gate", "b", "compare", False)
    assert (battle.language, battle.status) == ("en", "answered")
    assert battle.config_hash == config_hash_of(arena.runs.config)
    assert (vote.position, vote.kind, vote.outcome) == (0, "vote", "right")
    shown = {"left": len(left.text), "right": len(right.text)}
    assert vote.facts == {
        "turn": 2,
        "early": False,
        "shown": shown,
        "left": side_facts([left], shown["left"]),
        "right": side_facts([right], shown["right"]),
        "flags": [],
    }


def test_a_vote_between_two_settings_is_a_pair_of_them(house: House) -> None:
    arena = Arena(house)
    run = answer(arena.runs)
    other = ended(arena.runs.compare(ALICE, run.id, {"mode": "every-step"}))
    assert list(other.streams) == ["ensemble"]
    for outcome, stored in (("ensemble", "left"), ("tie", "tie"), ("all-bad", "both-bad"), ("beside", "right")):
        arena.runs.history.vote(ALICE, other.id, outcome)
        assert [(row.left, row.right, row.outcome) for row in arena.store.battles.votes()] == [
            ("every step", "gate", stored)
        ]
    (kept,) = arena.store.battles.export()
    assert [kept.body["turns"][0][side]["text"] for side in ("left", "right")] == [
        texts(other)["ensemble"],
        texts(run)["ensemble"],
    ]
    with pytest.raises(RequestError, match="expected one of"):
        arena.runs.history.vote(ALICE, run.id, "beside")
    arena.runs.history.delete_run(ALICE, run.id)
    assert list(arena.store.battles.export()) == [], "nothing is left of the answer that was deleted"
    assert arena.runs.history.find(ALICE, other.id).outcome == "beside"
    with pytest.raises(RequestError, match="expected one of"):
        arena.runs.history.vote(ALICE, other.id, "beside")


def test_a_deleted_turn_is_gone_from_later_battles(house: House) -> None:
    arena = Arena(house)
    first = answer(arena.runs)
    later = ended(arena.runs.start(ALICE, "And which of them do you like best?", SHORT, first.conversation_id))
    other = answer(arena.runs)
    for run in (later, other):
        arena.runs.history.vote(ALICE, run.id, "member:b")
    assert sum(first.prompt in str(battle.body) for battle in arena.store.battles.export()) > 0
    arena.runs.history.delete_run(ALICE, first.id)
    assert {battle.run_id for battle in arena.store.battles.export()} == {other.id}
    assert arena.runs.history.find(ALICE, later.id).outcome == "member:b"


def test_votes_on_compare_know_their_address_too(house: House) -> None:
    arena = Arena(house)
    for key in (ALICE, BOB):
        arena.runs.history.vote(key, answer(arena.runs, key=key).id, "member:b", client=client_of("192.0.2.1"))
    (name,) = {row.client for row in arena.store.battles.votes()}
    assert name == client_today(client_of("192.0.2.1"))
    assert not any(name in line for line in Exports(arena.store).lines())


def test_a_vote_that_is_saved_late_implies_battles_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = locked_out(house, monkeypatch)
    run = answer(arena.runs)
    with locked(house), pytest.raises(StorageError, match="a little later"):
        arena.runs.history.vote(ALICE, run.id, "member:b")
    until(lambda: run.outcome == "member:b", "for the vote to be taken")
    assert {(row.left, row.right): row.outcome for row in arena.store.battles.votes()} == {
        ("gate", "b"): "right",
        ("a", "b"): "right",
    }
    with locked(house), pytest.raises(StorageError, match="a little later"):
        arena.runs.history.undo_vote(ALICE, run.id)
    until(lambda: run.outcome is None, "for the vote to be taken back")
    assert arena.store.battles.votes() == []


def test_a_vote_is_not_saved_without_what_it_implies(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = Arena(house)
    run = answer(arena.runs)

    def fail(*_: object) -> None:
        raise sqlite3.IntegrityError("planned")

    monkeypatch.setattr("gac_app.storage.battles.changes.imply", fail)
    with pytest.raises(StorageError):
        arena.runs.history.vote(ALICE, run.id, "member:b")
    assert arena.store.load_run(ALICE, run.id).outcome is None
    assert run.outcome is None


def test_an_ensemble_outside_the_contestants_has_a_name(house: House) -> None:
    arena = Arena(house)
    for changes, name in (
        ({"mode": "every-step"}, "every step"),
        ({"threshold": 0.25}, "gate 0.25, average"),
        ({"weights": {"a": 1.0}, "mode": "every-step"}, "every-step, own weights"),
    ):
        run = answer(arena.runs, **changes)
        arena.runs.history.vote(ALICE, run.id, "ensemble")
        assert {row.left for row in arena.store.battles.votes()} >= {name}
