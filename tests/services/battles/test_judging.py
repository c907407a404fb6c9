"""Clicks that come at once or too early: none is lost, none waits for another that it need not wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gac_app.errors import RequestError
from gac_app.services.battles.arena import ArenaService
from gac_app.services.battles.views import BattleView
from tests.databases import locked
from tests.fakes import SOON_S, WAIT_S
from tests.services.battles.test_arena import LONG, Arena, locked_out
from tests.services.house import ALICE, House, until


@pytest.mark.parametrize(
    ("judge", "phase"),
    [
        (lambda service, view: service.judge.vote(ALICE, view.id, "left", view.ballot), "revealed"),
        (lambda service, view: service.skip(ALICE, view.id), "skipped"),
    ],
)
def test_a_battle_can_be_looked_at_while_its_answers_end(
    house: House, monkeypatch: pytest.MonkeyPatch, judge: Callable[[ArenaService, BattleView], BattleView], phase: str
) -> None:
    monkeypatch.setattr("gac_app.services.runs.runs.END_TIMEOUT_S", 10 * WAIT_S)
    arena = Arena(house, settings=LONG)
    view = arena.begun()
    run, may_end = arena.service.battles.find(ALICE, view.id).last, threading.Event()
    end = run.on_ended

    def end_late() -> None:
        may_end.wait(WAIT_S)
        end()

    run.on_ended = end_late
    with ThreadPoolExecutor() as pool:
        try:
            judging = pool.submit(judge, arena.service, view)
            until(run.is_stopping.is_set, "for the answers to be stopped")
            seen = pool.submit(arena.service.battles.look, ALICE, view.id).result(SOON_S)
            assert (seen.may_vote, seen.outcome, judging.done()) == (False, None, False)
            with pytest.raises(RequestError, match=r"being saved|skipped"):
                pool.submit(arena.service.next_turn, ALICE, view.id, "And?").result(SOON_S)
        finally:
            may_end.set()
        assert judging.result(WAIT_S).phase == phase


def test_of_two_remarks_in_flight_the_last_counts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = locked_out(house, monkeypatch)
    monkeypatch.setattr("gac_app.services.settling.STORE_TIMEOUT_S", WAIT_S)
    view = arena.answered()
    arena.service.judge.vote(ALICE, view.id, "left", view.ballot)
    battle = arena.service.battles.find(ALICE, view.id)
    with ThreadPoolExecutor() as pool:
        with locked(house.path):
            first = pool.submit(arena.service.judge.remark, ALICE, view.id, {"left": ["clear"]}, "one")
            until(lambda: battle.unwritten, "for the first remark to be written")
            second = pool.submit(arena.service.judge.remark, ALICE, view.id, {}, "two")
        first.result(WAIT_S), second.result(WAIT_S)
    rows = arena.store.battles.load(ALICE, view.id).judgements
    assert [row["kind"] for row in rows] == ["vote", "remark", "remark"]
    assert rows[-1]["body"] == {"reasons": {"left": [], "right": []}, "comment": "two"}


def test_a_start_that_is_refused_does_not_count(house: House) -> None:
    arena = Arena(house, arena={"max_per_hour": 1})
    with pytest.raises(RequestError):
        arena.service.start(ALICE, "too long " * 10_000)
    assert arena.answered().may_vote
