"""Who is next: clients get equal time, and so do the visitors of one client."""

from __future__ import annotations

import pytest

from gac_app.services.queue.order import PRESENT_S, FairOrder, client_of, visitor_of
from tests.clocks import HandClock
from tests.services.queue.test_turns import Run


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def order(clock: HandClock) -> FairOrder:
    return FairOrder(clock)


def test_a_new_client_starts_level_with_who_had_least(order: FairOrder) -> None:
    most, least, new = Run("mill/ann", 1), Run("home/bob", 2), Run("new/cyd", 3)
    order.register(most, [])
    order.register(least, [most])
    order.charge(most, 90.0)
    order.charge(least, 30.0)
    order.register(new, [most, least])
    assert order.in_order([new, most, least], []) == [least, new, most], "a new name gains nothing"
    order.charge(new, 1.0)
    assert order.in_order([new, most, least], []) == [least, new, most]
    order.charge(least, 2.0)
    assert order.in_order([new, most, least], []) == [new, least, most]


def test_a_new_visitor_starts_level_with_the_client_s_others(order: FairOrder) -> None:
    ann, elsewhere, new = Run("office/ann", 1), Run("home/bob", 2), Run("office/cyd", 3)
    order.register(ann, [])
    order.register(elsewhere, [ann])
    order.charge(ann, 30.0)
    order.register(new, [ann, elsewhere])
    assert order.in_order([new, ann], []) == [ann, new]


def test_coming_again_wipes_nothing_out(order: FairOrder) -> None:
    much, little = Run("mill/ann", 1), Run("home/bob", 2)
    order.register(much, [])
    order.register(little, [much])
    order.charge(much, 90.0)
    order.charge(little, 30.0)
    again = Run("mill/ann", 0)
    order.register(again, [little])
    assert order.in_order([again, little], []) == [little, again]


def test_who_was_long_away_is_forgotten(order: FairOrder, clock: HandClock) -> None:
    early, late = Run("mill/ann", 1), Run("home/bob", 2)
    order.register(early, [])
    order.charge(early, 90.0)
    assert order.are_others(client_of(late))
    assert order.are_others(visitor_of(late))
    assert not order.are_others(client_of(early))
    clock.now += PRESENT_S + 1
    order.register(late, [])
    order.charge(late, 1.0)
    assert not order.are_others(client_of(late))
    order.register(early, [late])
    assert order.in_order([late, early], []) == [early, late], "level, so in the order of arrival"


def test_who_waits_or_runs_for_long_is_not_forgotten(order: FairOrder, clock: HandClock) -> None:
    long, other = Run("mill/ann", 2), Run("home/bob", 1)
    order.register(long, [])
    order.charge(long, 90.0)
    clock.now += PRESENT_S + 1
    order.register(other, [long])
    assert order.in_order([long, other], []) == [other, long], "level, so in the order of arrival"
