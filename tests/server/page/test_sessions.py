"""Sessions of pages: who may use one, how many there are, and how long each is kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from gac_app.server.limits.bodies import RefusedError
from gac_app.server.limits.callers import Quota, make_room
from gac_app.server.page.sessions import (
    KEPT_S,
    MAX_SESSIONS,
    SESSIONS_PER_VISITOR,
    STREAMS_PER_SESSION,
    Caller,
    Sessions,
)

ALICE, BOB = Caller("home", "alice", "alice"), Caller("office", "bob", "bob")


@dataclass
class Kept:
    """Sessions with a clock that a test moves, and the hashes that were dropped."""

    per_client: int = 1000
    now_s: float = 1000.0
    dropped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.per_client, self.dropped.append, lambda: self.now_s)

    def later(self, seconds: float) -> list[str]:
        """All that is dropped until then."""
        self.now_s += seconds
        self.sessions.drop_idle()
        return self.dropped


def test_an_idle_session_is_dropped_after_its_time() -> None:
    kept = Kept()
    kept.sessions.enter("a", ALICE)
    assert kept.later(KEPT_S) == []
    assert kept.later(0.1) == ["a"]


@pytest.mark.parametrize("listens", [True, False])
def test_a_session_with_a_stream_is_not_idle(listens: bool) -> None:
    kept = Kept()
    kept.sessions.open_stream(kept.sessions.enter("a", ALICE), listens=listens)
    assert kept.later(10 * KEPT_S) == []


@pytest.mark.parametrize("listens", [True, False])
def test_closing_a_stream_is_a_use(listens: bool) -> None:
    kept = Kept()
    session = kept.sessions.enter("a", ALICE)
    kept.sessions.open_stream(session, listens=listens)
    kept.later(10 * KEPT_S)
    kept.sessions.close_stream(session, listens=listens)
    assert kept.later(KEPT_S) == []
    assert kept.later(0.1) == ["a"]


def test_a_session_has_few_streams() -> None:
    kept = Kept()
    session = kept.sessions.enter("a", ALICE)
    for number in range(STREAMS_PER_SESSION):
        kept.sessions.open_stream(session, listens=bool(number % 2))
    with pytest.raises(RefusedError) as refused:
        kept.sessions.open_stream(session, listens=True)
    assert (refused.value.status, session.num_streams) == (429, STREAMS_PER_SESSION)
    kept.sessions.close_stream(session, listens=False)
    kept.sessions.open_stream(session, listens=True)


def test_time_without_a_listener_counts_from_the_last_one() -> None:
    kept = Kept()
    session = kept.sessions.enter("a", ALICE)
    kept.sessions.open_stream(session, listens=True)
    kept.now_s += 50
    assert kept.sessions.abandoned_s(session, 1000.0) == 0
    kept.sessions.close_stream(session, listens=True)
    kept.now_s += 3
    assert kept.sessions.abandoned_s(session, 1000.0) == 3
    assert kept.sessions.abandoned_s(session, 1052.0) == 1
    assert session.num_listeners == 0


def test_another_browser_cannot_use_it() -> None:
    sessions = Kept().sessions
    sessions.enter("a", ALICE)
    for use in (sessions.find, sessions.enter):
        with pytest.raises(RefusedError) as refused:
            use("a", BOB)
        assert refused.value.status == 403
    assert sessions.find("b", BOB) is None


@pytest.mark.parametrize(
    ("per_client", "most", "is_same_visitor"),
    [(1000, SESSIONS_PER_VISITOR, True), (20, 20, False), (MAX_SESSIONS + 1, MAX_SESSIONS, False)],
)
def test_the_least_recently_used_one_makes_room(per_client: int, most: int, is_same_visitor: bool) -> None:
    kept = Kept(per_client)

    def caller(number: int) -> Caller:
        return ALICE if is_same_visitor else Caller("home", f"visitor {number}", f"visitor {number}")

    for number in range(most):
        kept.sessions.enter(f"s{number}", caller(number))
    kept.sessions.find("s0", caller(0))
    kept.sessions.enter("one more", caller(most))
    assert (kept.dropped, len(kept.sessions)) == (["s1"], most)


def test_what_has_gone_counts_no_more() -> None:
    """One that goes makes room in a visitor's, a client's and everybody's number."""
    full = RefusedError(429, "full"), RefusedError(503, "full")
    held = [("bobs", BOB), ("one", ALICE), ("two", ALICE)]

    def gone(of_visitor: int, of_client: int, of_all: int) -> list[str]:
        return make_room(held, ALICE, Quota(of_visitor, of_client, of_all), lambda _: True, full)

    assert gone(3, 3, 4) == []
    assert gone(2, 2, 3) == gone(2, 3, 4) == gone(3, 2, 4) == ["one"]
    assert gone(3, 3, 3) == ["bobs"]
    assert gone(2, 2, 2) == ["one", "bobs"]
    assert gone(2, 1, 2) == ["one", "two"]
    for quota, refusal in ((Quota(2, 9, 9), full[0]), (Quota(9, 2, 9), full[1]), (Quota(9, 9, 3), full[1])):
        with pytest.raises(RefusedError) as refused:
            make_room(held, ALICE, quota, lambda _: False, full)
        assert refused.value is refusal


def test_sessions_in_use_make_no_room() -> None:
    kept = Kept(per_client=3)
    for number in range(3):
        kept.sessions.open_stream(kept.sessions.enter(f"s{number}", ALICE), listens=True)
    with pytest.raises(RefusedError) as refused:
        kept.sessions.enter("one more", ALICE)
    assert refused.value.status == 429
    kept.sessions.enter("of another address", BOB)


async def _answers_of(has_listener: bool) -> tuple[bool, bool]:
    session = Kept().sessions.enter("a", ALICE)
    loop = asyncio.get_running_loop()
    gone, waiting = loop.create_future(), loop.create_future()
    gone.cancel()
    session.waiting = {gone, waiting}
    session.announce(has_listener)
    session.announce(not has_listener)
    return gone.cancelled(), await waiting


@pytest.mark.parametrize("has_listener", [True, False])
def test_waiting_events_hear_what_came_first(has_listener: bool) -> None:
    assert asyncio.run(_answers_of(has_listener)) == (True, has_listener)
