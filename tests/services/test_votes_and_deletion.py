"""Judging a run and forgetting it."""

from __future__ import annotations

from typing import Any

import pytest

from gac_app.decoding.events import FinishReason
from gac_app.errors import NotFoundError, RequestError
from gac_app.storage import RunStatus
from tests.fakes import WAIT_S, FakeModel, Fault
from tests.services.house import ALICE, BOB, LONG, SHORT, House, answer, begun, ended, until


def slow_models() -> list[FakeModel]:
    return [FakeModel("a", 1, delay_s=0.002), FakeModel("b", 2, delay_s=0.002)]


@pytest.mark.parametrize("outcome", ["ensemble", "member:a", "member:b", "tie", "all-bad"])
def test_a_vote_is_kept_with_the_run(house: House, outcome: str) -> None:
    service = house.service()
    run = answer(service)
    assert outcome in run.outcomes

    service.vote(ALICE, run.id, outcome)

    assert run.outcome == outcome
    assert [line.outcome for line in service.history(ALICE)] == [outcome]
    service.close()
    assert house.service().find(ALICE, run.id).outcome == outcome


def test_a_later_vote_replaces_the_first_and_may_be_taken_back(house: House) -> None:
    service = house.service()
    run = answer(service)
    service.vote(ALICE, run.id, "tie")
    service.vote(ALICE, run.id, "member:a")
    assert [line.outcome for line in service.history(ALICE)] == ["member:a"]

    service.undo_vote(ALICE, run.id)
    service.undo_vote(ALICE, run.id)

    assert run.outcome is None
    assert [line.outcome for line in service.history(ALICE)] == [None]


def test_a_stored_run_may_be_judged_after_a_restart(house: House) -> None:
    first = house.service()
    run = answer(first)
    first.close()
    service = house.service()

    service.vote(ALICE, run.id, "all-bad")
    assert service.find(ALICE, run.id).outcome == "all-bad"

    service.undo_vote(ALICE, run.id)
    assert service.find(ALICE, run.id).outcome is None


@pytest.mark.parametrize("outcome", ["", "member:nobody", "ENSEMBLE", None, ["tie"]])
def test_a_bad_outcome_is_refused_and_stops_nothing(house: House, outcome: Any) -> None:
    service = house.service(slow_models())
    run = begun(service.start(ALICE, "Go on", LONG))

    with pytest.raises(RequestError, match="expected one of ensemble, member:a, member:b, tie, all-bad") as caught:
        service.vote(ALICE, run.id, outcome)

    assert caught.value.field == "outcome"
    num_steps = len(run.streams["ensemble"].steps)
    until(lambda: len(run.streams["ensemble"].steps) > num_steps, "for the run to go on")
    until(lambda: service.history(ALICE), "for the run's row")
    assert (run.outcome, service.history(ALICE)[0].outcome) == (None, None)


def test_an_early_vote_counts_and_the_answers_go_on(house: House) -> None:
    service = house.service(slow_models())
    run = begun(service.start(ALICE, "Go on", LONG))

    service.vote(ALICE, run.id, "member:b")

    num_steps = len(run.streams["ensemble"].steps)
    until(lambda: len(run.streams["ensemble"].steps) > num_steps, "for the run to go on")
    service.stop(ALICE, run.id)
    ended(run)
    assert [line.outcome for line in service.history(ALICE)] == ["member:b"]


def test_a_deleted_run_is_gone_from_memory_and_database(house: House) -> None:
    service = house.service()
    run, other = answer(service, "a very private prompt"), answer(service, "the other")

    service.delete_run(ALICE, run.id)

    for attempt in (service.find, service.delete_run):
        with pytest.raises(NotFoundError):
            attempt(ALICE, run.id)
    assert [line.run_id for line in service.history(ALICE)] == [other.id]
    assert service.find(ALICE, other.id) is other
    service.close()
    assert b"very private" not in b"".join(path.read_bytes() for path in house.path.parent.iterdir())


def test_deleting_a_run_that_decodes_stops_it_and_leaves_nothing(house: House) -> None:
    models = slow_models()
    service = house.service(models)
    run = begun(service.start(ALICE, "a very private prompt", LONG))

    service.delete_run(ALICE, run.id)

    assert run.over.is_set()
    until(lambda: [model.num_held for model in models] == [0, 0], "for the sequences to be freed")
    assert service.history(ALICE) == []
    service.close()
    assert house.service().history(ALICE) == []
    assert b"very private" not in b"".join(path.read_bytes() for path in house.path.parent.iterdir())


def test_deleting_a_run_that_waits_takes_it_out_of_the_queue(house: House) -> None:
    model = FakeModel("a", 1, fault=Fault("hang", marker=b"HANG"))
    service = house.service([model], server={"max_running": 1})
    running = service.start(BOB, "HANG", SHORT)
    assert model.is_hanging.wait(WAIT_S)
    waiting, last = (service.start(ALICE, text, SHORT) for text in ("deleted", "kept"))

    service.delete_run(ALICE, waiting.id)

    assert (waiting.over.is_set(), last.queue_place) == (True, 1)
    model.released.set()
    assert {ended(run).status for run in (running, last)} == {RunStatus.FINISHED}
    assert [line.prompt for line in service.history(ALICE)] == ["kept"]


def test_deleting_everything_stops_and_forgets_what_runs_too(house: House) -> None:
    service = house.service(slow_models())
    old = answer(service, "old")
    running = begun(service.start(ALICE, "running", LONG))

    service.delete_all(ALICE)

    assert service.history(ALICE) == []
    for run in (old, running):
        assert run.over.is_set()
        with pytest.raises(NotFoundError):
            service.find(ALICE, run.id)
    assert running.streams["ensemble"].finished is not None
    assert running.streams["ensemble"].finished.reason is FinishReason.ABORT
    service.delete_all(ALICE)  # nothing is left, and that is no error


def test_a_conversation_goes_on_after_one_of_its_runs_was_deleted(house: House) -> None:
    service = house.service()
    first = answer(service, "First?")
    second = ended(service.start(ALICE, "Second?", SHORT, first.conversation_id))

    service.delete_run(ALICE, second.id)
    third = ended(service.start(ALICE, "Third?", SHORT, first.conversation_id))

    asked = [message.content for message in third.streams["ensemble"].messages if message.role == "user"]
    assert asked == ["First?", "Third?"]
    assert [run.id for run in service.conversation(ALICE, first.conversation_id)] == [first.id, third.id]
