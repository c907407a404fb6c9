"""Two servers on one database: a run is streamed and stopped on its own, by its owner alone."""

from __future__ import annotations

import pytest

from gac_app.errors import NotFoundError, RequestError
from gac_app.services.runs.runs import LiveRun, RunService
from tests.services.house import ALICE, BOB, LONG, SHORT, House, begun, ended, slow_models, texts


def long_run(service: RunService) -> LiveRun:
    """One of Alice's that goes on until it is stopped."""
    run = begun(service.start(ALICE, "Go on", LONG))
    service._store.flush()
    return run


def test_a_run_is_stopped_by_its_owner_on_its_own_server(house: House) -> None:
    here, there = house.service(slow_models()), house.service()
    run = long_run(here)
    for service, visitor in ((there, ALICE), (there, BOB), (here, BOB)):
        with pytest.raises(NotFoundError):
            service.stop(visitor, run.id)
    assert not run.is_stopping.is_set()
    seen = there.history.find(ALICE, run.id)
    assert (seen.status, list(seen.streams), list(seen.steps_of("ensemble"))) == ("running", ["ensemble"], [])
    with pytest.raises(NotFoundError):
        there.history.find(BOB, run.id)
    here.stop(ALICE, run.id)
    assert ended(run).status == "aborted"


def test_a_run_is_empty_when_its_owner_dies(house: House) -> None:
    here, there = house.service(slow_models()), house.service()
    run = long_run(here)
    here._store.close()
    seen = there.history.find(ALICE, run.id)
    assert (seen.status, list(seen.streams), seen.as_turn().answers) == ("interrupted", ["ensemble"], {})


def test_a_conversation_waits_for_its_answer_on_any_server(house: House) -> None:
    here, there = house.service(slow_models()), house.service()
    run = long_run(here)
    for service in (here, there):
        with pytest.raises(RequestError, match="still coming"):
            service.start(ALICE, "And then?", SHORT, run.conversation_id)
    here.stop(ALICE, run.id)
    ended(run)
    here._store.flush()
    next_turn = ended(there.start(ALICE, "And then?", SHORT, run.conversation_id)).turns
    assert [turn.answers["ensemble"] for turn in next_turn] == [texts(run)["ensemble"]]


def test_what_another_server_deleted_is_no_context(house: House) -> None:
    here, there = house.service(slow_models()), house.service()
    first = ended(here.start(ALICE, "Remember 7412", SHORT))
    second = ended(here.start(ALICE, "And then?", SHORT, first.conversation_id))
    there.history.delete_runs(ALICE, [first.id])
    third = ended(here.start(ALICE, "Go on", SHORT, first.conversation_id))
    assert [turn.prompt for turn in third.turns] == ["And then?"]
    assert "7412" not in repr([stream.messages for run in (second, third) for stream in run.streams.values()])
    there.history.delete_conversation(ALICE, first.conversation_id)
    with pytest.raises(NotFoundError):
        here.start(ALICE, "Go on", SHORT, first.conversation_id)
    with pytest.raises(NotFoundError):
        here.history.find(ALICE, third.id)
