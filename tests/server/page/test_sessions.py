"""Sessions of pages: who may use one, how many there are, and how long each is kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from gac_app.server.limits.bodies import RefusedError
from gac_app.server.page import sessions
from gac_app.server.page.events import has_listener
from gac_app.server.page.sessions import KEPT_S, SESSIONS_PER_VISITOR, STREAMS_PER_SESSION, Caller, Sessions

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


@pytest.mark.parametrize(
    ("per_client", "most", "is_same_visitor"), [(1000, SESSIONS_PER_VISITOR, True), (20, 20, False), (31, 30, False)]
)
def test_the_least_recently_used_one_makes_room(
    monkeypatch: pytest.MonkeyPatch, per_client: int, most: int, is_same_visitor: bool
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 30)  # of everybody
    kept = Kept(per_client)

    def caller(number: int) -> Caller:
        return ALICE if is_same_visitor else Caller("home", f"visitor {number}", f"visitor {number}")

    entered = [kept.sessions.enter(f"s{number}", caller(number)) for number in range(most)]
    kept.sessions.open_stream(entered[1], listens=True)
    kept.later(1)
    kept.sessions.find("s0", caller(0))
    kept.sessions.close_stream(entered[1], listens=True)
    kept.sessions.enter("one more", caller(most))
    assert (kept.dropped, len(kept.sessions)) == (["s2"], most)


def test_sessions_in_use_make_no_room() -> None:
    kept = Kept(per_client=3)
    for number in range(3):
        kept.sessions.open_stream(kept.sessions.enter(f"s{number}", ALICE), listens=True)
    with pytest.raises(RefusedError) as refused:
        kept.sessions.enter("one more", ALICE)
    assert refused.value.status == 429
    kept.sessions.enter("of another address", BOB)
    assert kept.sessions.find("s0", Caller("train", "alice", "alice"))
    with pytest.raises(RefusedError) as refused:
        kept.sessions.find("s0", Caller("home", "bob", "bob"))
    assert refused.value.status == 403


@pytest.mark.anyio
async def test_waiting_events_begin_with_a_listener_or_end() -> None:
    sessions = Kept().sessions
    session, found = sessions.enter("a", ALICE), list[bool]()

    async def wait() -> None:
        found.append(await has_listener(session))

    for come in (lambda: sessions.open_stream(session, listens=False), session.wake,
                 lambda: sessions.open_stream(session, listens=True), lambda: None):  # fmt: skip
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        come()
        await asyncio.sleep(0.01)
        found.append(waiting.done())
    sessions.close_stream(session, listens=True)
    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    found.append(waiting.done())
    waiting.cancel()
    # A stream of another kind changes nothing; then both end, and whoever comes while somebody listens begins.
    assert found == [False, False, False, True, True, True, True, True, False]
