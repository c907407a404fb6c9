"""Two servers on one database: a run is shown, followed and stopped on either, by its owner alone."""

from __future__ import annotations

import time

import pytest

from gac_app.errors import NotFoundError, RequestError
from gac_app.services.runs.runs import LiveRun, RunService
from gac_app.services.runs.views import is_over
from gac_app.storage import Wish
from tests.fakes import FakeModel
from tests.services.house import ALICE, BOB, LONG, SHORT, House, answer, begun, ended, texts, until


def long_run(service: RunService) -> LiveRun:
    """One of Alice's that goes on until it is stopped."""
    run = begun(service.start(ALICE, "Go on", LONG))
    service._store.flush()
    return run


def slow(house: House) -> RunService:
    return house.service([FakeModel("a", 1, delay_s=0.002), FakeModel("b", 2, delay_s=0.002)])


def test_a_run_is_stopped_on_the_other_server(house: House) -> None:
    here, there = slow(house), house.service()
    run = long_run(here)
    seen = there.history.find(ALICE, run.id)
    assert (seen.status, list(seen.streams), is_over(seen)) == ("running", ["ensemble"], False)
    there.stop(ALICE, run.id)
    ended(run)
    found = there.follow_elsewhere(ALICE, run.id)
    assert (found.status, texts(found)) == ("aborted", texts(run))
    there.stop(ALICE, run.id)  # which does nothing


def test_nobody_stops_another_visitor_s_run(house: House) -> None:
    here, there = slow(house), house.service()
    run = long_run(here)
    for ask in (there.stop, there.follow_elsewhere):
        with pytest.raises(NotFoundError):
            ask(BOB, run.id)
    for wish in Wish:
        with pytest.raises(NotFoundError):
            there._store.signal_run(BOB, run.id, wish).result()
    num = len(run.streams["ensemble"].steps)
    until(lambda: len(run.streams["ensemble"].steps) > num + 20)
    assert not run.is_stopping.is_set()


def test_a_run_goes_on_while_a_page_elsewhere_follows_it(house: House) -> None:
    here, there = slow(house), house.service()
    here.audience.unseen_s = 0.3
    run = long_run(here)
    with here.following(run):
        here.note_seen(ALICE, run.id)
    until_s = time.monotonic() + 3 * here.audience.unseen_s
    while time.monotonic() < until_s:
        there.follow_elsewhere(ALICE, run.id)
        time.sleep(0.02)
        assert not run.is_stopping.is_set()
    ended(run)
    assert run.status == "aborted"


def test_a_conversation_waits_for_the_other_server(house: House) -> None:
    here, there = slow(house), house.service()
    run = long_run(here)
    with pytest.raises(RequestError, match="another server still writes"):
        there.start(ALICE, "And then?", {}, run.conversation_id)
    there.stop(ALICE, run.id)
    ended(run)
    next_turn = ended(there.start(ALICE, "And then?", SHORT, run.conversation_id)).turns
    assert [turn.answers["ensemble"] for turn in next_turn] == [texts(run)["ensemble"]]


def test_what_is_deleted_elsewhere_is_forgotten(house: House) -> None:
    """In memory too, and in the context of a later turn."""
    here, there = house.service(), house.service()
    first, other = answer(here), answer(here, "Another")
    second = ended(here.start(ALICE, "And then?", SHORT, first.conversation_id))
    there.history.delete_run(ALICE, first.id)
    until(lambda: here._runs.get(first.id) is None)
    assert [run.id for run in here.history.conversation(ALICE, first.conversation_id)] == [second.id]
    until(lambda: not second.turns)
    there.history.delete_all(ALICE)
    until(lambda: not here._runs.all())
    with pytest.raises(NotFoundError):
        here.history.find(ALICE, other.id)


def test_what_is_deleted_elsewhere_is_stopped(house: House) -> None:
    here, there = slow(house), house.service()
    for delete in (lambda run: there.history.delete_run(ALICE, run.id), lambda _: there.history.delete_all(ALICE)):
        run = long_run(here)
        delete(run)
        assert run.over.wait(10)
        with pytest.raises(NotFoundError):
            there.history.find(ALICE, run.id)
