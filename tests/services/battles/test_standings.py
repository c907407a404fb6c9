"""The leaderboard moves with the votes, and the draw goes by them."""

from __future__ import annotations

import pytest

from gac_app.arena.rating.votes import VoteFilter
from gac_app.errors import RequestError
from gac_app.storage import NewBattle, Store
from gac_app.storage.battles.records import VoteRow
from tests.services.battles.test_arena import NAMES, Arena
from tests.services.house import ALICE, BOB, House
from tests.storage.samples import new_id
from tests.ui.planted_votes import judge


def stored_vote(store: Store, left: str, right: str, outcome: str, key: str = ALICE, client: str = "") -> None:
    battle = NewBattle(
        battle_id=new_id(),
        visitor_key=key,
        left=left,
        right=right,
        body={},
        origin="people",
        is_blind=True,
        language="en",
        client=client,
    )
    judge(store, battle, outcome, {})


def test_the_leaderboard_moves_with_a_vote(house: House) -> None:
    arena = Arena(house, arena={"min_votes": 1, "min_seconds": 0.0})
    standings = arena.service.standings
    empty = standings.leaderboard(ALICE)
    assert {line.name for line in empty.standings} == NAMES
    assert "Not enough votes" in empty.problem
    assert standings.choices() == ((), ())

    view = arena.answered(prompt="Give me three tips for learning to play the guitar.")
    voted = arena.service.judge.vote(ALICE, view.id, "left", view.ballot)
    for own in (True, False):  # it can still be taken back, and the counts would tell the names
        standings._rating_s = 0.0
        assert standings.leaderboard(ALICE, own=own).num_votes == 0
    told = arena.service.judge.reveal(ALICE, view.id)
    standings._rating_s = 0.0
    moved = standings.leaderboard(ALICE)
    assert told.contestants is not None
    assert moved.standings[0].name == told.contestants["left"].name
    assert moved.standings[0].ms_per_token is not None
    assert (moved.num_votes, standings.choices()[0]) == (1, ("en",))
    assert standings.leaderboard(BOB, own=True).num_votes == 0
    assert standings.leaderboard(ALICE, own=True).num_votes == 1
    assert standings.leaderboard(ALICE, VoteFilter(language="de")).num_votes == 0
    assert voted.outcome == "left"
    with pytest.raises(RequestError):
        standings.leaderboard("")


def test_the_draw_goes_by_the_votes(house: House) -> None:
    arena = Arena(house)
    for left in sorted(NAMES):
        for right in sorted(NAMES):
            if left < right and {left, right} != {"a", "gate"}:
                for _ in range(4):
                    stored_vote(arena.store, left, right, "left")
                    stored_vote(arena.store, left, right, "right")
    pairs = [
        frozenset(one.name for one in arena.service._draw(None, arena.service._open("")).values()) for _ in range(200)
    ]
    assert pairs.count(frozenset({"a", "gate"})) > 120
    assert len(set(pairs)) == 6


def test_many_votes_are_not_read_again_at_every_new_one(house: House) -> None:
    arena = Arena(house)
    standings = arena.service.standings
    stored_vote(arena.store, "a", "b", "left")
    first = standings._votes()
    standings._rating_s = 100.0  # as if there were very many
    stored_vote(arena.store, "a", "b", "left")
    assert standings._votes() is first
    standings._rating_s = 0.0
    assert len(standings._votes()) == 2


def test_a_board_is_rated_once_until_votes_change(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.services.battles.standings._KEPT_BOARDS", 4)
    arena = Arena(house, arena={"min_votes": 1})
    standings = arena.service.standings
    for outcome in ("left", "right"):
        stored_vote(arena.store, "a", "b", outcome)
    asked = [{}, {"own": True}, {"controls_style": True}, {"wanted": VoteFilter(has_flagged=True)}]
    first = [standings.leaderboard(ALICE, **options) for options in asked]
    assert len({id(board) for board in first}) == 4
    assert all(standings.leaderboard(ALICE, **options) is board for options, board in zip(asked, first, strict=True))
    assert standings.leaderboard(BOB) is first[0]
    assert standings.leaderboard(BOB, own=True).num_votes == 0
    assert len(standings._boards) == 4

    stored_vote(arena.store, "a", "b", "left")
    standings._rating_s = 0.0
    assert [standings.leaderboard(ALICE, **options).num_votes for options in asked] == [3, 3, 3, 3]


def test_a_vote_that_comes_while_votes_are_read_tells_no_name(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = Arena(house, arena={"min_votes": 1, "min_seconds": 0.0})
    view = arena.answered()
    read = arena.store.battles.votes

    def late(key: str = "") -> list[VoteRow]:
        if not read():
            arena.service.judge.vote(ALICE, view.id, "left", view.ballot)
        return read(key)

    monkeypatch.setattr(arena.store.battles, "votes", late)
    assert arena.service.standings.leaderboard(ALICE, own=True).num_votes == 0
