"""Batches: every prompt an ordinary run, one after another, called off, forgotten with the rest."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from gac_app.errors import BusyError, RequestError
from gac_app.services.runs.batches import GIVES_WAY_S, MAX_OF_CLIENT, UNHEARD_S, Batch, Batches
from gac_app.services.runs.runs import RunService
from gac_app.services.visitors import owner_of
from tests.clocks import HandClock
from tests.databases import locked
from tests.fakes import WAIT_S, FakeModel
from tests.services.house import ALICE, BOB, LONG, SHORT, House, listed, until


def slow(house: House, **fields: Any) -> RunService:
    return house.service([FakeModel("a", 1, delay_s=0.01), FakeModel("b", 2)], **fields)


def begun(batches: Batches, prompts: str, client: str = "") -> Batch:
    """A batch whose first run goes on."""
    batch = batches.start(ALICE, prompts, LONG, client=client)
    until(lambda: bool(batch.rows[0].run_id))
    return batch


def test_a_batch_called_off_keeps_what_was_answered(house: House) -> None:
    service = slow(house)
    batches = Batches(service)
    batch = begun(batches, "One?\nTwo?\nThree?", "an address")
    run = service._runs.find(owner_of(ALICE), batch.rows[0].run_id)
    assert (run.client, run.is_of_batch) == ("an address", True), "as the queue knows it"
    with pytest.raises(BusyError, match="A batch of yours"):
        batches.start(ALICE, "Four?", SHORT)
    batches.cancel(BOB)
    assert not batch.cancelled.is_set()
    batches.cancel(ALICE)
    until(lambda: batch.is_over)
    assert [row.error for row in batch.rows] == ["", "cancelled", "cancelled"]
    assert service.history.find(ALICE, batch.rows[0].run_id).status == "aborted"


def test_a_full_queue_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.services.runs.batches._RETRY_S", 0.01)
    service = slow(house, server={"max_running": 1, "max_waiting": 0})
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


def test_deleting_everything_ends_a_batch_without_trace(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one whose next run waits for the deletion."""
    service = slow(house)
    batches = Batches(service)
    batch = begun(batches, "One?\nTwo?")
    service.history.delete_all(ALICE)
    assert batches.look(ALICE) is None
    until(lambda: batch.is_over)
    assert batch.rows[1].run_id == ""
    assert listed(service, ALICE) == []
    changing, has_asked = service._runs.changing, threading.Event()
    monkeypatch.setattr(service._runs, "changing", lambda owner: has_asked.set() or changing(owner))
    with changing(owner_of(ALICE)):
        batch = batches.start(ALICE, "One?", SHORT)
        assert has_asked.wait(WAIT_S)
        service.history.delete_all(ALICE)
    until(lambda: batch.is_over)
    assert (batch.rows[0].run_id, batch.rows[0].error) == ("", "cancelled")


def test_the_end_of_the_service_is_the_end_of_its_batches(house: House) -> None:
    service = slow(house)
    batch = begun(Batches(service), "One?\nTwo?\nThree?")
    service.close()
    until(lambda: batch.is_over)
    assert [row.run_id for row in batch.rows[1:]] == ["", ""]


def test_settings_that_do_not_fit_are_refused_at_once(house: House) -> None:
    with pytest.raises(RequestError, match="temperature"):
        Batches(house.service()).start(ALICE, "One?", {"temperature": -1})


def of_invented_keys(batches: Batches, client: str) -> list[Batch]:
    """As many batches as one address may have, each of a key of its own."""
    return [batches.start(f"{number:064}", "One?\nTwo?", LONG, client=client) for number in range(MAX_OF_CLIENT)]


def test_invented_keys_take_their_own_address_places(house: House) -> None:
    batches = Batches(slow(house))
    first, *_ = of_invented_keys(batches, "one address")
    with pytest.raises(BusyError, match="of your address"):
        batches.start(BOB, "Me?", SHORT, client="one address")
    batches.start(BOB, "Me?", SHORT, client="another")
    first.end("called off")
    batches.start(ALICE, "Me?", SHORT, client="one address")


def test_a_batch_that_nobody_shows_gives_way(house: House) -> None:
    clock = HandClock()
    batches = Batches(slow(house), clock)
    first, second, *_ = of_invented_keys(batches, "one address")
    clock.now += GIVES_WAY_S
    batches.look(f"{0:064}")
    batches.start(BOB, "Me?", SHORT, client="one address")
    until(lambda: second.is_over)
    assert second.rows[1].error == "cancelled: nobody was watching and the slot was needed"
    assert not first.cancelled.is_set()


def test_a_batch_ends_soon_after_its_page_has_left(house: House) -> None:
    clock = HandClock()
    service = slow(house)
    batches = Batches(service, clock)
    batch = begun(batches, "One?\nTwo?")
    clock.now += UNHEARD_S - 1
    batches.look(ALICE)
    clock.now += UNHEARD_S - 1
    assert not batch.cancelled.wait(0.5), "a page in the background asks once a minute"
    clock.now += 2
    until(lambda: batch.is_over)
    assert service.history.find(ALICE, batch.rows[0].run_id).status == "aborted"
    assert [row.error for row in batch.rows] == ["", "not asked: no page showed this batch for 2 minutes"]
    assert batches.look(ALICE) is batch, "whoever comes back sees what became of it"


def test_rows_are_over_once_they_are_stored(house: House) -> None:
    service = house.service()
    batches = Batches(service)
    with locked(house.path):
        batch = batches.start(ALICE, "One?", SHORT)
        until(lambda: bool(batch.rows[0].run_id))
        run = service._runs.find(owner_of(ALICE), batch.rows[0].run_id)
        until(run.over.is_set)
        assert not batch.rows[0].is_over
    until(lambda: batch.is_over)
    assert (run.is_saved, batch.rows[0].error) == (True, "")


def test_a_row_whose_answers_are_lost_says_so(house: House) -> None:
    batches = Batches(house.service())
    with locked(house.path):  # for longer than the store tries
        batch = batches.start(ALICE, "One?", SHORT)
        until(lambda: batch.is_over)
    assert batch.rows[0].error == "answered, but not saved: the database could not take it"


def test_all_addresses_have_a_number_of_places_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.services.runs.batches.MAX_BATCHES", 2)
    monkeypatch.setattr("gac_app.services.runs.batches.KEPT_BATCHES", 1)
    batches = Batches(slow(house))
    short = [batches.start(key, "Me?", SHORT, client="home") for key in (ALICE, BOB)]
    until(lambda: all(one.is_over for one in short))
    for number in range(2):
        batches.start(f"{number:064}", "One?", LONG, client=f"office {number}")
    assert (batches.look(ALICE), batches.look(BOB)) == (None, short[1]), "the oldest that is over is forgotten"
    with pytest.raises(BusyError, match="Too many batches are"):
        batches.start(f"{2:064}", "Me?", SHORT, client="mill")
