"""Two servers on one database: a battle is judged on its own, and the other tells no name before that is over."""

from __future__ import annotations

import pytest

from gac_app.services.battles import battles
from gac_app.services.mirror.exports import Exports
from tests.services.battles.test_arena import Arena
from tests.services.house import ALICE, House, until

ANY_VOTES = {"min_votes": 1, "min_seconds": 0.0}


@pytest.fixture
def here(house: House) -> Arena:
    return Arena(house, arena=ANY_VOTES)


@pytest.fixture
def there(house: House) -> Arena:
    return Arena(house, arena=ANY_VOTES)


def counted(arena: Arena) -> list[int]:
    """What tells of Alice's battles: her list, her file, the operator's, the leaderboards."""
    standings = arena.service.standings
    standings._rating_s = 0.0  # as if rating took no time
    _, everything = Exports(arena.store, arena.service.battles.open_ids).everything("jsonl")
    return [
        arena.service.history.newest(ALICE, 9)[1],
        len(list(arena.service.history.own(ALICE))),
        len(everything.splitlines()),
        *(standings.leaderboard(ALICE, own=own).num_votes for own in (True, False)),
    ]


def test_the_other_server_tells_no_name_before_a_vote_stands(
    here: Arena, there: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = here.answered()
    here.store.flush()
    for _ in range(2):
        seen = there.service.history.look(ALICE, view.id)
        assert (seen.phase, seen.contestants, seen.may_vote) == ("interrupted", None, False)
        assert "Another server has this battle" in seen.message
        assert counted(there) == [0] * 5
        assert counted(here) == [0] * 5
        if not here.store.battles.votes():
            here.service.vote(ALICE, view.id, "left", view.ballot)

    here.service.reveal(ALICE, view.id)
    assert counted(here) == [1] * 5
    assert counted(there) == [0] * 5  # for all it knows, the vote is being taken back
    monkeypatch.setattr("gac_app.services.battles.live_battles.UNDO_WRITTEN_S", -battles.UNDO_S)
    assert there.service.history.look(ALICE, view.id).contestants is not None
    assert counted(there) == [1] * 5


def test_what_cannot_be_judged_any_more_is_told_everywhere(here: Arena, there: Arena) -> None:
    view = here.answered()
    here.service.skip(ALICE, view.id)
    here.store.flush()
    assert there.service.history.newest(ALICE, 9)[1] == here.service.history.newest(ALICE, 9)[1] == 1


def test_a_battle_of_a_server_that_is_gone_was_interrupted(here: Arena, there: Arena) -> None:
    view = here.answered()
    here.runs.close()
    seen = there.service.history.look(ALICE, view.id)
    assert (seen.phase, seen.message) == ("interrupted", "The server was restarted before a vote.")
    assert counted(there)[:2] == [1, 0], "listed, but not exported: its names are never told"


def test_a_battle_that_made_room_for_newer_ones_says_so(
    here: Arena, there: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gac_app.services.battles.live_battles.KEPT_BATTLES", 1)
    first = here.answered(prompt="First")
    here.answered(prompt="Second")
    here.store.flush()
    for arena in (here, there):
        seen = arena.service.history.look(ALICE, first.id)
        assert (seen.phase, seen.contestants) == ("interrupted", None)
        assert seen.message == "Newer battles took the place of this one before a vote."
        assert [one.battle_id for one in arena.service.history.newest(ALICE, 9)[0]] == [first.id]


def test_a_judged_battle_that_made_room_stays_as_it_was(here: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.services.battles.live_battles.KEPT_BATTLES", 1)
    first = here.answered(prompt="First")
    here.service.vote(ALICE, first.id, "tie", first.ballot)
    here.service.reveal(ALICE, first.id)
    here.answered(prompt="Second")
    until(lambda: here.store.flush(), "for it to be written")
    assert here.service.history.look(ALICE, first.id).phase == "revealed"
    assert here.store.battles.load(ALICE, first.id).status == "answered"


def test_no_more_battles_are_listed_than_asked(here: Arena) -> None:
    views = [here.answered(prompt=f"Prompt {number}") for number in range(4)]
    for view in views[:3]:
        here.service.skip(ALICE, view.id)
    here.store.flush()
    listed, num = here.service.history.newest(ALICE, 2)
    assert [one.body["turns"][0]["prompt"] for one in listed] == ["Prompt 2", "Prompt 1"]
    assert num == 3
