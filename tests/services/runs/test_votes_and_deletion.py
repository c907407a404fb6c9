"""Judging a run and forgetting it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gac_app.decoding.trace.events import FinishReason
from gac_app.errors import NotFoundError
from gac_app.storage import RunStatus
from tests.fakes import WAIT_S
from tests.services.house import ALICE, LONG, SHORT, House, answer, begun, ended, listed, slow_models, until


def test_a_vote_is_kept_with_the_run(house: House) -> None:
    service = house.service()
    run = answer(service)
    assert run.outcomes == ("ensemble", "member:a", "member:b", "tie", "all-bad")
    for outcome in run.outcomes:
        service.history.vote(ALICE, run.id, outcome)
        assert run.outcome == outcome
        assert [line.outcome for line in listed(service, ALICE)] == [outcome]
    service.close()
    assert house.service().history.find(ALICE, run.id).outcome == "all-bad"


def test_an_early_vote_counts_and_the_answers_go_on(house: House) -> None:
    service = house.service(slow_models())
    run = begun(service.start(ALICE, "Go on", LONG))

    service.history.vote(ALICE, run.id, "member:b")

    num_steps = len(run.streams["ensemble"].steps)
    until(lambda: len(run.streams["ensemble"].steps) > num_steps, "for the run to go on")
    service.stop(ALICE, run.id)
    ended(run)
    assert [line.outcome for line in listed(service, ALICE)] == ["member:b"]


def test_a_deleted_run_is_gone_from_memory_and_database(house: House) -> None:
    service = house.service()
    run, other = answer(service, "a very private prompt"), answer(service, "the other")

    service.history.delete_run(ALICE, run.id)

    for attempt in (service.history.find, service.history.delete_run):
        with pytest.raises(NotFoundError):
            attempt(ALICE, run.id)
    assert [line.run_id for line in listed(service, ALICE)] == [other.id]
    assert service.history.find(ALICE, other.id) is other
    service.close()
    assert b"very private" not in b"".join(path.read_bytes() for path in house.path.parent.iterdir())


def test_deleting_a_running_run_leaves_nothing(house: House) -> None:
    models = slow_models()
    service = house.service(models)
    run = begun(service.start(ALICE, "a very private prompt", LONG))

    service.history.delete_run(ALICE, run.id)

    assert run.over.is_set()
    until(lambda: [model.num_held for model in models] == [0, 0], "for the sequences to be freed")
    assert listed(service, ALICE) == []
    service.close()
    assert listed(house.service(), ALICE) == []
    assert b"very private" not in b"".join(path.read_bytes() for path in house.path.parent.iterdir())


def test_deleting_everything_stops_and_forgets_what_runs_too(house: House) -> None:
    service = house.service(slow_models())
    old = answer(service, "old")
    running = begun(service.start(ALICE, "running", LONG))

    service.history.delete_all(ALICE)

    assert listed(service, ALICE) == []
    for run in (old, running):
        assert run.over.is_set()
        with pytest.raises(NotFoundError):
            service.history.find(ALICE, run.id)
    assert running.streams["ensemble"].finished is not None
    assert running.streams["ensemble"].finished.reason is FinishReason.ABORT
    service.history.delete_all(ALICE)  # nothing is left, and that is no error


def test_a_deleted_turn_is_gone_from_all_that_goes_on_from_it(house: House) -> None:
    service = house.service()
    first = answer(service, "a very private prompt")
    second = ended(service.start(ALICE, "Second?", SHORT, first.conversation_id))
    third = ended(service.start(ALICE, "Third?", SHORT, first.conversation_id))
    said = {key: stream.text for key, stream in first.streams.items()}
    assert first.prompt in str(third.streams["ensemble"].messages)

    service.history.delete_run(ALICE, first.id)

    fourth = ended(service.start(ALICE, "Fourth?", SHORT, first.conversation_id))
    exported = str(list(house.store().export()))
    service.close()
    service = house.service()
    runs = [second, third, fourth, *(service.history.find(ALICE, run.id) for run in (second, third, fourth))]
    for key, text in said.items():
        for run in runs:
            asked = [message.content for message in run.streams[key].messages]
            assert first.prompt not in asked
            assert text not in asked
            assert asked[-1] == run.prompt
    assert first.prompt not in exported
    assert [run.num_deleted_turns for run in runs] == [1, 1, 0] * 2
    fed = [message.content for message in fourth.streams["ensemble"].messages if message.role == "user"]
    assert fed == ["Second?", "Third?", "Fourth?"]


def test_a_later_turn_is_stopped_and_its_reads_forgotten(house: House) -> None:
    models = slow_models()
    service = house.service(models)
    first = answer(service, "a very private prompt")
    second = begun(service.start(ALICE, "Second?", LONG, first.conversation_id))

    service.history.delete_run(ALICE, first.id)

    assert second.over.is_set()
    assert ended(second).status == RunStatus.ABORTED
    assert [m.content for m in second.streams["ensemble"].messages] == ["Second?"]
    until(lambda: [model.num_held for model in models] == [0, 0], "for the sequences to be freed")
    third = ended(service.start(ALICE, "Third?", SHORT, first.conversation_id))
    assert first.prompt not in str(third.streams["ensemble"].messages)


def test_a_turn_that_waits_for_a_deletion_begins_afresh(house: House) -> None:
    service = house.service(slow_models())
    first = answer(service, "a very private prompt")
    second = ended(service.start(ALICE, "Second?", SHORT, first.conversation_id))
    real, started = service._store.delete_run, []

    def delete_slowly(key: str, run_id: str) -> Any:
        thread = threading.Thread(
            target=lambda: started.append(service.start(ALICE, "Third?", SHORT, first.conversation_id))
        )
        thread.start()
        thread.join(0.2)
        assert not started, "it has to wait"
        threads.append(thread)
        return real(key, run_id)

    threads: list[threading.Thread] = []
    service._store.delete_run = delete_slowly  # type: ignore[method-assign]
    service.history.delete_run(ALICE, first.id)
    threads[0].join(WAIT_S)

    asked = [m.content for m in ended(started[0]).streams["ensemble"].messages if m.role == "user"]
    assert asked == [second.prompt, "Third?"]


def test_a_run_that_was_never_stored_is_deleted_all_the_same(house: House) -> None:
    service = house.service()
    run = answer(service)
    service._store.delete_run(ALICE, run.id).result()  # as if it had been lost

    service.history.delete_run(ALICE, run.id)

    with pytest.raises(NotFoundError):
        service.history.find(ALICE, run.id)


def test_a_branch_of_a_deleted_run_stays_a_run_of_its_own(house: House) -> None:
    service = house.service()
    first = answer(service, "First?")
    second = ended(service.start(ALICE, "Second?", SHORT, first.conversation_id))
    step = next(step for step in second.streams["ensemble"].steps[1:] if len(step.top) > 1)
    branch = ended(service.branch(ALICE, second.id, step.position, step.top[1].token_id))

    service.history.delete_run(ALICE, second.id)

    third = ended(service.start(ALICE, "Third?", SHORT, first.conversation_id))
    asked = [m.content for m in third.streams["member:a"].messages]
    assert asked == ["First?", first.streams["member:a"].text, "Second?", branch.streams["member:a"].text, "Third?"]
