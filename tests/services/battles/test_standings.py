"""The leaderboard moves with the votes, and the draw goes by them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sqlalchemy import select

from gac_app.arena.rating.votes import VoteFilter
from gac_app.errors import RequestError
from gac_app.services.battles.standings import Standings
from gac_app.services.mirror.exports import Exports
from gac_app.services.queue.shares import client_of, use_client_keys
from gac_app.storage.battles.tables import Battle
from tests.arena.samples import row, votes_of
from tests.services.battles.test_arena import NAMES, Arena
from tests.services.house import ALICE, BOB, House
from tests.ui.planted_votes import plant_vote


def test_the_leaderboard_moves_with_a_vote(house: House) -> None:
    arena = Arena(house, arena={"min_votes": 1, "min_seconds": 0.0})
    standings = arena.service.standings
    empty = standings.leaderboard(ALICE)
    assert {line.name for line in empty.standings} == NAMES
    assert "Not enough votes" in empty.problem
    assert standings.choices() == ((), ())
    view = arena.answered(prompt="Give me three tips for learning to play the guitar.")
    voted = arena.service.judge.vote(ALICE, view.id, "left", view.version)
    told = arena.service.battles.look(ALICE, view.id)
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


def test_the_draw_goes_by_the_votes(arena: Arena) -> None:
    for left in sorted(NAMES):
        for right in sorted(NAMES):
            if left < right and {left, right} != {"a", "gate"}:
                for _ in range(4):
                    plant_vote(arena.store, left, right, "left")
                    plant_vote(arena.store, left, right, "right")
    pairs = arena.drawn(200)
    assert pairs.count(frozenset({"a", "gate"})) > 120
    assert len(set(pairs)) == 6


def test_many_votes_are_not_read_again_at_every_new_one(arena: Arena) -> None:
    standings = arena.service.standings
    plant_vote(arena.store, "a", "b", "left", ALICE)
    first = standings._current()[1]
    standings._rating_s = 100.0  # as if there were very many
    plant_vote(arena.store, "a", "b", "left", ALICE)
    assert standings._current()[1] is first
    standings._rating_s = 0.0
    assert len(standings._current()[1]) == 2


def test_a_board_is_rated_once_until_votes_change(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.services.battles.standings._KEPT_BOARDS", 4)
    arena = Arena(house, arena={"min_votes": 1})
    standings = arena.service.standings
    for outcome in ("left", "right"):
        plant_vote(arena.store, "a", "b", outcome, ALICE)
    asked = [{}, {"own": True}, {"controls_style": True}, {"wanted": VoteFilter(has_flagged=True)}]
    first = [standings.leaderboard(ALICE, **options) for options in asked]
    assert len({id(board) for board in first}) == 4
    assert all(standings.leaderboard(ALICE, **options) is board for options, board in zip(asked, first, strict=True))
    assert standings.leaderboard(BOB) is first[0]
    assert standings.leaderboard(BOB, own=True).num_votes == 0
    assert len(standings._boards) == 4
    plant_vote(arena.store, "a", "b", "left", ALICE)
    standings._rating_s = 0.0
    assert [standings.leaderboard(ALICE, **options).num_votes for options in asked] == [3, 3, 3, 3]


def test_an_address_is_one_after_a_restart(house: House) -> None:
    for _ in range(2):
        use_client_keys({})  # as in a process that begins
        arena = Arena(house)
        arena.answered(client=client_of("192.0.2.1"))
    with arena.store.reading() as session:
        names = set(session.scalars(select(Battle.client)))
    assert names == {client_of("192.0.2.1")}
    assert not any(name in line for line in Exports(arena.store).lines() for name in names)


def test_a_class_behind_one_address_counts_as_one_visitor(house: House) -> None:
    arena = Arena(house, arena={"min_votes": 1, "min_seconds": 0.0})
    for home in range(10):
        for _ in range(3):
            plant_vote(arena.store, "a", "b", "left" if home % 2 else "right", f"{home:064}", client=f"home {home}")
    for pupil in range(8):
        key, client = f"{100 + pupil:064}", client_of("10.3.0.1")
        for number in range(2):
            view = arena.answered(key, f"Question {number} of {pupil}", client=client)
            arena.service.judge.vote(key, view.id, "left", view.version)
    busiest = arena.service.standings.rated("blind").busiest
    assert busiest is not None
    assert (busiest.num_votes, busiest.num_visitors) == (16, 8), "some are flagged"
    assert busiest.share == pytest.approx(1 / 11)


def test_the_draw_goes_by_the_newest_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    standings = Standings(cast("Any", None), ["a", "b", "c"], min_votes=1)
    books = [votes_of([row("a", "b", "left", 1), row("b", "a", "left", 2, flags=["fast"])], "abc")]
    monkeypatch.setattr(standings, "_current", lambda: (None, books[-1]))
    first = standings.for_drawing()
    none = frozenset(("a", "c")), frozenset(("b", "c"))
    assert first[0] == {frozenset(("a", "b")): 2, **dict.fromkeys(none, 0)}, "flagged votes count, unrated"
    assert first[1].keys() == {"a", "b"}, "c cannot be compared yet"
    assert first[1]["a"] > first[1]["b"]
    assert standings.for_drawing()[0] is first[0], "the same votes are counted once"
    books.append(votes_of([row(*pair, "tie", at) for at, pair in enumerate(("ab", "bc", "ca"))], "abc"))
    num_votes, ratings = standings.for_drawing()
    assert num_votes == {frozenset(pair): 1 for pair in ("ab", "bc", "ca")}
    assert ratings == pytest.approx(dict.fromkeys("abc", 1000.0))
