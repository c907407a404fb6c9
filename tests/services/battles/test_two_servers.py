"""A server that is started again judges what it had answered; another one on its database does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update

from gac_app.errors import BusyError, NotFoundError, RequestError
from gac_app.services.battles import records
from gac_app.services.battles.records import CLOCKS_DIFFER_S, facts_of
from gac_app.services.battles.views import BattleView
from gac_app.services.mirror.exports import Exports
from gac_app.storage import Store
from gac_app.storage.battles.tables import Battle
from tests.fakes import WAIT_S, FakeModel, Fault
from tests.services.battles.test_arena import LONG, Arena
from tests.services.house import ALICE, BOB, House

ANY_VOTES = {"min_votes": 1, "min_seconds": 0.0}


@pytest.fixture
def here(house: House) -> Arena:
    return Arena(house, arena=ANY_VOTES)


@pytest.fixture
def there(house: House, here: Arena) -> Iterator[Arena]:
    """Another server on the database."""
    with closing(Store(house.url, server="there")) as store:
        yield Arena(house, store=store, arena=ANY_VOTES)


def again(house: House, here: Arena) -> Arena:
    """The server, started again."""
    here.store.flush()
    return Arena(house, arena=ANY_VOTES)


def stored(arena: Arena, prompt: str = "Name three colours") -> BattleView:
    view = arena.answered(prompt=prompt)
    arena.store.flush()
    return view


def counted(arena: Arena) -> list[int]:
    """What tells of Alice's battles: her list, her file, the operator's, the leaderboards."""
    standings = arena.service.standings
    standings._rating_s = 0.0  # as if rating took no time
    _, everything = Exports(arena.store).everything("jsonl")
    return [
        arena.service.battles.newest(ALICE, 9)[1],
        len(list(arena.service.battles.own(ALICE))),
        len(list(everything)),
        *(standings.leaderboard(ALICE, own=own).num_votes for own in (True, False)),
    ]


def names_by(arena: Arena, view: BattleView) -> Any:
    seen = arena.service.battles.look(ALICE, view.id)
    return seen.contestants and [seen.contestants["left"].name, seen.contestants["right"].name]


def test_a_battle_is_judged_after_a_restart(house: House, here: Arena) -> None:
    view = stored(here)
    battle = here.service.battles.find(ALICE, view.id)
    expected = facts_of(battle, battle.num_shown())
    there = again(house, here)
    seen = there.service.battles.look(ALICE, view.id)
    assert (seen.phase, seen.may_vote, seen.contestants) == ("answered", True, None)
    assert seen.turns == view.turns
    told = there.service.judge.vote(ALICE, view.id, "right", seen.version)
    assert (told.phase, told.outcome) == ("revealed", "right")
    facts = there.facts(view.id)
    assert facts.pop("seconds") >= expected.pop("seconds") >= 0
    assert {name: facts[name] for name in expected} == expected
    assert names_by(there, view)
    assert counted(there) == [1] * 5
    with pytest.raises((NotFoundError, RequestError)):
        there.service.judge.vote(ALICE, view.id, "tie", told.version)


@pytest.mark.parametrize("is_under_way", [True, False])
def test_a_battle_is_its_own_servers(house: House, here: Arena, there: Arena, is_under_way: bool) -> None:
    model = FakeModel("b", 2, fault=Fault("hang"))
    here = Arena(house, [FakeModel("a", 1), model], store=here.store, settings=LONG) if is_under_way else here
    view = here.service.start(ALICE, "Go on") if is_under_way else stored(here)
    here.store.flush()
    service = there.service
    calls = [service.battles.look, service.stop, service.note_seen, service.skip]
    calls.append(lambda key, battle_id: service.judge.vote(key, battle_id, "left", view.version))
    for ask in calls:
        with pytest.raises(NotFoundError, match="Another server has this battle"):
            ask(ALICE, view.id)
        with pytest.raises(NotFoundError, match="No such battle"):
            ask(BOB, view.id)
    assert not here.service.battles.find(ALICE, view.id).last.is_stopping.is_set()
    assert (there.kinds(view.id), counted(there)) == ([], [0, 0, 0, 0, 0])
    model.released.set()


def test_its_names_are_told_everywhere_once_the_vote_is_stored(here: Arena, there: Arena) -> None:
    view = stored(here)
    here.service.judge.vote(ALICE, view.id, "right", view.version)
    assert names_by(here, view) == names_by(there, view)
    assert counted(here) == counted(there) == [1] * 5
    last = there.service.judge.remark(ALICE, view.id, {"right": ["useful"]}, "").remark
    assert last is not None
    assert here.kinds(view.id) == ["vote", "remark"]


def test_no_start_shows_an_answer_faster_than_it_is_read(
    house: House, here: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gac_app.arena.pacing.Tempo.rate", 1.0)
    view = here.service.start(ALICE, "Name three colours")
    assert here.service.battles.find(ALICE, view.id).last.over.wait(10.0)
    there = again(house, here)
    for set_back_s in (0, CLOCKS_DIFFER_S):
        monkeypatch.setattr(records, "time", SimpleNamespace(time=lambda back_s=set_back_s: time.time() - back_s))
        with pytest.raises(NotFoundError, match="still being shown"):
            there.service.battles.look(ALICE, view.id)
    monkeypatch.setattr(records, "time", SimpleNamespace(time=lambda: time.time() - 24 * 3600))
    assert there.service.battles.look(ALICE, view.id).phase == "answered", "not tomorrow, because a clock was set"
    there.service.forget(ALICE)
    monkeypatch.setattr(records, "time", SimpleNamespace(time=lambda: time.time() + 3600))
    there.service.battles.look(ALICE, view.id)
    seconds = there.service.battles.find(ALICE, view.id).last.pace.seconds
    assert seconds > 3590, "since its first characters, not since its last"


def test_the_conversation_goes_on_after_a_restart(house: House, here: Arena) -> None:
    view = stored(here)
    there = again(house, here)
    there.service.next_turn(ALICE, view.id, "And three more")
    seen = there.until(ALICE, view.id, "answered")
    assert [turn.prompt for turn in seen.turns] == ["Name three colours", "And three more"]
    there.service.judge.vote(ALICE, view.id, "tie", seen.version)
    assert there.facts(view.id)["turn"] == 2


def test_a_turn_that_a_dead_server_was_answering_is_left_out(house: House, here: Arena) -> None:
    view, running = stored(here), stored(here)
    here.store.battles.update(view.id, "continuing").result()
    here.store.battles.update(running.id, "running").result()
    there = again(house, here)
    seen = there.service.battles.look(ALICE, view.id)
    assert (seen.phase, len(seen.turns)) == ("answered", 1)
    assert there.service.battles.look(ALICE, running.id).phase == "interrupted"


def test_a_stopped_battle_shows_the_same_after_a_restart(house: House) -> None:
    slow = [FakeModel("a", 1, delay_s=0.002), FakeModel("b", 2, delay_s=0.004)]
    here = Arena(house, slow, settings=LONG, arena=ANY_VOTES)
    view = here.begun()
    here.service.stop(ALICE, view.id)
    stopped = here.until(ALICE, view.id, "answered")
    assert here.service.battles.find(ALICE, view.id).last.over.wait(WAIT_S)
    seen = again(house, here).service.battles.look(ALICE, view.id)
    assert (seen.phase, seen.turns, seen.message) == ("answered", stopped.turns, stopped.message)


def test_a_vote_of_an_earlier_release_is_told_and_takes_reasons(here: Arena, there: Arena) -> None:
    """Its server kept the battle while the vote could be taken back, and is gone."""
    view = stored(here)
    here.service.judge.vote(ALICE, view.id, "left", view.version)
    with here.store.engine.begin() as connection:
        connection.execute(update(Battle).values(server_id="of a server that is gone"))
    assert names_by(there, view)
    told = there.service.judge.remark(ALICE, view.id, {"left": ["clear"]}, "")
    assert (counted(there), there.kinds(view.id)) == ([1] * 5, ["vote", "remark"])
    assert told.remark == {"reasons": {"left": ["clear"], "right": []}, "comment": ""}


@pytest.mark.parametrize("change", [{"brightness": 1}, {"threshold": "high"}])
def test_a_battle_of_another_version_is_told_in_a_sentence(house: House, here: Arena, change: dict[str, Any]) -> None:
    view = stored(here)
    body = here.store.battles.load(ALICE, view.id).body
    body["sides"]["left"]["settings"] |= change
    here.store.battles.update(view.id, "answered", body).result()
    there = again(house, here)
    seen = there.service.battles.look(ALICE, view.id)
    assert (seen.phase, seen.may_vote, seen.contestants, seen.turns) == ("interrupted", False, None, view.turns)
    assert seen.message.startswith("Another version of the program answered this battle.")
    with pytest.raises(NotFoundError, match="Another version"):
        there.service.judge.vote(ALICE, view.id, "left", seen.version)


def test_no_turn_is_answered_by_members_that_are_not_here(house: House, here: Arena) -> None:
    view = stored(here)
    other = Arena(house, [FakeModel("c", 1), FakeModel("d", 2)], arena=ANY_VOTES)
    with pytest.raises(RequestError, match="This server has other models") as refusal:
        other.service.next_turn(ALICE, view.id, "And three more")
    assert not set("abcd") & set(str(refusal.value).split())
    assert other.service.judge.vote(ALICE, view.id, "tie", view.version).outcome == "tie"


def test_a_battle_that_made_room_for_newer_ones_comes_back(here: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.services.battles.visitor_battles.KEPT_BATTLES", 1)
    first = stored(here, "First")
    stored(here, "Second")
    assert [one.last.prompt for one in here.service.battles.all()] == ["Second"]
    voted = here.service.judge.vote(ALICE, first.id, "tie", here.service.battles.look(ALICE, first.id).version)
    assert voted.outcome == "tie"


def test_battles_of_an_hour_are_counted_on_all_servers(house: House) -> None:
    here = Arena(house, arena={"max_per_hour": 2})
    there = Arena(house, store=Store(house.url, server="there"), arena={"max_per_hour": 2})
    for arena in (here, there):
        arena.service.battles.delete(ALICE, stored(arena).id)
    stored(here), stored(there)
    for arena in (here, there):
        with pytest.raises(BusyError, match="many battles within an hour"):
            arena.service.start(ALICE, "Once more")


def test_no_more_battles_are_listed_than_asked(here: Arena) -> None:
    views = [here.answered(prompt=f"Prompt {number}") for number in range(4)]
    for view in views[:3]:
        here.service.skip(ALICE, view.id)
    here.store.flush()
    listed, num = here.service.battles.newest(ALICE, 2)
    assert [one.body["turns"][0]["prompt"] for one in listed] == ["Prompt 2", "Prompt 1"]
    assert num == 3
