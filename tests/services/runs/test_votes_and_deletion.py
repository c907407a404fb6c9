"""Judging a run and forgetting it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gac_app.errors import NotFoundError
from gac_app.storage import RunStatus
from tests.fakes import WAIT_S
from tests.services.house import ALICE, LONG, SHORT, House, answer, begun, ended, listed, slow_models, until


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
