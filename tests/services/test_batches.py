"""Batches: every prompt an ordinary run, one after another, called off, forgotten with the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gac_app.errors import BusyError, NotFoundError, RequestError
from gac_app.services.batches import Batches
from gac_app.services.runs import RunService
from tests.fakes import FakeModel
from tests.services.house import ALICE, BOB, LONG, SHORT, House, listed, until


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "runs.sqlite3")
    yield house
    house.close()


def slow(house: House) -> RunService:
    return house.service([FakeModel("a", 1, delay_s=0.01), FakeModel("b", 2)])


def test_every_prompt_becomes_a_run_of_its_visitor(house: House) -> None:
    service = house.service()
    batches = Batches(service)
    batch = batches.start(ALICE, "One?\nTwo?\nThree?", SHORT)
    until(lambda: batch.is_over)
    assert [(row.prompt, row.error, row.is_over) for row in batch.rows] == [("", "", True)] * 3
    runs = [service.history.find(ALICE, row.run_id) for row in batch.rows]
    assert [run.prompt for run in runs] == ["One?", "Two?", "Three?"]
    assert len({run.conversation_id for run in runs}) == 3
    assert list(runs[0].streams) == ["ensemble", "member:a", "member:b"]
    assert batches.find(BOB) is None
    with pytest.raises(NotFoundError):
        service.history.find(BOB, batch.rows[0].run_id)


def test_a_batch_called_off_keeps_what_was_answered(house: House) -> None:
    service = slow(house)
    batches = Batches(service)
    batch = batches.start(ALICE, "One?\nTwo?\nThree?", LONG)
    until(lambda: bool(batch.rows[0].run_id))
    with pytest.raises(BusyError, match="A batch of yours"):
        batches.start(ALICE, "Four?", SHORT)
    batches.cancel(BOB)
    assert not batch.cancelled.is_set()
    batches.cancel(ALICE)
    until(lambda: batch.is_over)
    assert [row.error for row in batch.rows] == ["", "cancelled", "cancelled"]
    assert service.history.find(ALICE, batch.rows[0].run_id).status == "aborted"


def test_whoever_waits_comes_between_two_prompts(house: House) -> None:
    service = house.service([FakeModel("a", 1, delay_s=0.005), FakeModel("b", 2)], server={"max_running": 1})
    batches = Batches(service)
    batch = batches.start(ALICE, "One?\nTwo?", SHORT)
    until(lambda: bool(batch.rows[0].run_id))
    between = service.start(BOB, "Me?", SHORT)
    until(lambda: bool(batch.rows[1].run_id))
    assert between.over.is_set() or between.status != "waiting"
    until(lambda: batch.is_over)


def test_a_full_queue_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.services.batches._RETRY_S", 0.01)
    service = house.service(
        [FakeModel("a", 1, delay_s=0.01), FakeModel("b", 2)], server={"max_running": 1, "max_waiting": 0}
    )
    first = service.start(BOB, "Me?", LONG)
    batch = Batches(service).start(ALICE, "One?", SHORT)
    assert not batch.is_over
    service.stop(BOB, first.id)
    until(lambda: batch.is_over)
    assert batch.rows[0].run_id


def test_a_prompt_that_does_not_fit_leaves_the_others(house: House) -> None:
    batch = Batches(house.service()).start(ALICE, f"One?\n{'word ' * 20_000}\nThree?", SHORT)
    until(lambda: batch.is_over)
    assert [bool(row.run_id) for row in batch.rows] == [True, False, True]
    assert "word" not in batch.rows[1].error
    assert batch.rows[1].error


def test_deleting_everything_ends_a_batch_without_trace(house: House) -> None:
    service = slow(house)
    batches = Batches(service)
    batch = batches.start(ALICE, "One?\nTwo?", LONG)
    until(lambda: bool(batch.rows[0].run_id))
    service.history.delete_all(ALICE)
    assert batches.find(ALICE) is None
    until(lambda: batch.is_over)
    assert batch.rows[1].run_id == ""
    assert listed(service, ALICE) == []


def test_the_end_of_the_service_is_the_end_of_its_batches(house: House) -> None:
    service = slow(house)
    batch = Batches(service).start(ALICE, "One?\nTwo?\nThree?", LONG)
    until(lambda: bool(batch.rows[0].run_id))
    service.close()
    until(lambda: batch.is_over)
    assert [row.run_id for row in batch.rows[1:]] == ["", ""]


def test_settings_that_do_not_fit_are_refused_at_once(house: House) -> None:
    with pytest.raises(RequestError, match="temperature"):
        Batches(house.service()).start(ALICE, "One?", {"temperature": -1})
