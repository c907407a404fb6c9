"""Who is next: clients get equal time, and so do the visitors of one client."""

from __future__ import annotations

import pytest

from gac_app.services.queue.turns import PRESENT_S, Turns, client_of, visitor_of
from gac_app.services.runs.live_run import LiveRun
from gac_app.settings import Settings


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock) -> Turns:
    return Turns(clock)


def run_of(client: str, visitor: str, came_at: float = 0.0) -> LiveRun:
    run = LiveRun(owner=visitor, prompt="hello", settings=Settings(), keys=["ensemble"], member_names=("a",))
    run.client, run.came_at = client, came_at
    return run


def test_who_has_had_less_time_is_next(turns: Turns) -> None:
    first, second = run_of("office", "ann", 1), run_of("home", "bob", 2)
    turns.came(first, [])
    turns.came(second, [first])
    assert turns.in_order([first, second], []) == [first, second]
    turns.had(first, 5.0)
    turns.had(second, 4.0)
    assert turns.in_order([first, second], []) == [second, first]
    turns.had(second, 2.0)
    assert turns.in_order([first, second], []) == [first, second], "4 s and 2 s add up"


def test_visitors_of_one_client_get_equal_time_too(turns: Turns) -> None:
    ann, bob = run_of("office", "ann", 1), run_of("office", "bob", 2)
    turns.came(ann, [])
    turns.came(bob, [ann])
    turns.had(ann, 5.0)
    assert turns.in_order([ann, bob], []) == [bob, ann]


def test_a_new_client_starts_level_with_who_had_least(turns: Turns) -> None:
    most, least, new = run_of("mill", "ann", 1), run_of("home", "bob", 2), run_of("new", "cyd", 3)
    turns.came(most, [])
    turns.came(least, [most])
    turns.had(most, 90.0)
    turns.had(least, 30.0)
    turns.came(new, [most, least])
    assert turns.in_order([new, most, least], []) == [least, new, most], "a new name gains nothing"
    turns.had(new, 1.0)
    assert turns.in_order([new, most, least], []) == [least, new, most]
    turns.had(least, 2.0)
    assert turns.in_order([new, most, least], []) == [new, least, most]


def test_a_new_visitor_starts_level_with_the_client_s_others(turns: Turns) -> None:
    ann, elsewhere, new = run_of("office", "ann", 1), run_of("home", "bob", 2), run_of("office", "cyd", 3)
    turns.came(ann, [])
    turns.came(elsewhere, [ann])
    turns.had(ann, 30.0)
    turns.came(new, [ann, elsewhere])
    assert turns.in_order([new, ann], []) == [ann, new]


def test_coming_again_wipes_nothing_out(turns: Turns) -> None:
    much, little = run_of("mill", "ann", 1), run_of("home", "bob", 2)
    turns.came(much, [])
    turns.came(little, [much])
    turns.had(much, 90.0)
    turns.had(little, 30.0)
    again = run_of("mill", "ann", 0)
    turns.came(again, [little])
    assert turns.in_order([again, little], []) == [little, again]


def test_who_was_long_away_is_forgotten(turns: Turns, clock: Clock) -> None:
    early, late = run_of("mill", "ann", 2), run_of("home", "bob", 1)
    turns.came(early, [])
    turns.had(early, 90.0)
    assert turns.are_others(client_of(late))
    assert turns.are_others(visitor_of(late))
    assert not turns.are_others(client_of(early))
    clock.now_s += PRESENT_S + 1
    turns.came(late, [])
    turns.had(late, 1.0)
    assert not turns.are_others(client_of(late))
    turns.came(early, [late])
    assert turns.in_order([early, late], []) == [late, early], "level, so in the order of arrival"


def test_who_runs_already_comes_after_who_does_not(turns: Turns) -> None:
    running, next_one, other = run_of("mill", "ann", 1), run_of("mill", "ann", 2), run_of("home", "bob", 3)
    for run in (running, next_one, other):
        turns.came(run, [])
    turns.had(other, 50.0)
    assert turns.in_order([next_one, other], [running]) == [other, next_one]
