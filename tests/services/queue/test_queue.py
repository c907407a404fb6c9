"""How many runs decode at once, who is next, and who is turned away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gac_app.errors import BusyError
from gac_app.services.queue import queue
from gac_app.services.runs.runs import LiveRun, RunService
from gac_app.storage import RunStatus
from tests.fakes import WAIT_S, FakeModel, Fault
from tests.services.house import ALICE, BOB, SHORT, House, ended, listed, until


class Jam:
    """A service whose runs of the prompt HANG hold their place until they are let go."""

    def __init__(self, house: House, *, max_running: int, max_waiting: int) -> None:
        self.model = FakeModel("a", 1, fault=Fault("hang", marker=b"HANG"))
        self.service: RunService = house.service(
            [self.model], server={"max_running": max_running, "max_waiting": max_waiting}
        )

    def fill(self, num: int) -> list[LiveRun]:
        runs = [self.service.start(ALICE, f"HANG {number}", SHORT) for number in range(num)]
        assert self.model.is_hanging.wait(WAIT_S)
        return runs


@pytest.fixture
def jam(house: House) -> Iterator[Jam]:
    jam = Jam(house, max_running=1, max_waiting=2)
    yield jam
    jam.model.released.set()


def test_runs_wait_in_their_order_and_learn_their_place(jam: Jam) -> None:
    [running] = jam.fill(1)
    second, third = (jam.service.start(key, "next", SHORT) for key in (BOB, ALICE))
    until(lambda: running.status == "running")
    assert [run.queue_place for run in (running, second, third)] == [0, 1, 2]
    assert [run.status for run in (second, third)] == ["waiting", "waiting"]

    jam.model.released.set()

    for run in (running, second, third):
        assert ended(run).status == RunStatus.FINISHED
    assert [run.queue_place for run in (running, second, third)] == [0, 0, 0]
    lines = listed(jam.service, BOB)
    assert [line.run_id for line in lines] == [second.id]


def test_one_too_many_is_turned_away_and_leaves_no_row(jam: Jam) -> None:
    running, *_ = jam.fill(1)
    waiting = [jam.service.start(ALICE, f"next {number}", SHORT) for number in range(2)]

    with pytest.raises(BusyError, match="queue is full"):
        jam.service.start(ALICE, "one too many", SHORT)

    jam.model.released.set()
    for run in (running, *waiting):
        ended(run)
    assert len(listed(jam.service, ALICE)) == 3
    assert ended(jam.service.start(ALICE, "now", SHORT)).status == RunStatus.FINISHED


def test_what_a_full_queue_refuses_is_not_tokenised(jam: Jam, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each of a thousand refused long prompts would cost as much as one that is taken."""
    jam.fill(1)
    made: list[str] = []
    request_of = LiveRun.request_of
    monkeypatch.setattr(LiveRun, "request_of", lambda run, *args: made.append(run.prompt) or request_of(run, *args))
    for number in range(4):
        with suppress(BusyError):
            jam.service.start(ALICE, f"next {number}", SHORT)
    assert set(made) == {"next 0", "next 1"}


def test_in_a_full_queue_who_waits_with_most_gives_way(jam: Jam) -> None:
    jam.fill(1)
    first, last = (jam.service.start(ALICE, f"next {number}", SHORT) for number in range(2))

    bobs = jam.service.start(BOB, "only one", SHORT)

    assert ended(last).status == RunStatus.ABORTED
    finished = last.streams["ensemble"].finished
    assert finished is not None
    assert "others had their turn" in finished.detail
    assert [run.status for run in (first, bobs)] == ["waiting", "waiting"]
    with pytest.raises(BusyError):
        jam.service.start("c" * 64, "nobody has two more than this one", SHORT)


def test_visitors_take_turns_however_many_runs_one_has_waiting(house: House) -> None:
    jam = Jam(house, max_running=1, max_waiting=10)
    jam.fill(4)
    bobs = [jam.service.start(BOB, f"bob {number}", SHORT) for number in range(2)]
    assert [run.queue_place for run in bobs] == [1, 3]
    carols = jam.service.start("c" * 64, "carol", SHORT)
    assert carols.queue_place == 2


def test_clients_take_turns_however_many_visitors_one_has(house: House) -> None:
    jam = Jam(house, max_running=1, max_waiting=10)
    crowd = [jam.service.start(f"{number}" * 64, f"HANG {number}", SHORT, client="office") for number in range(5)]
    assert jam.model.is_hanging.wait(WAIT_S)
    alone = jam.service.start(ALICE, "at home", SHORT, client="home")
    assert alone.queue_place == 1
    assert [run.queue_place for run in crowd] == [0, 2, 3, 4, 5]


def test_nobody_takes_the_last_place_while_others_are_there(house: House) -> None:
    jam = Jam(house, max_running=2, max_waiting=10)
    answered = jam.service.start(BOB, "was here", SHORT)
    ended(answered)
    runs = jam.fill(3)
    until(lambda: [run.status for run in runs].count("running") == 1)
    bobs = jam.service.start(BOB, "HANG too", SHORT)
    until(lambda: bobs.status == "running")
    assert [run.queue_place for run in runs] == [0, 1, 2]


def test_a_run_that_holds_its_place_long_makes_room_for_others(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "OVERDUE_S", 0.2)
    jam = Jam(house, max_running=1, max_waiting=10)
    [_, alices] = jam.fill(2)
    bobs = jam.service.start(BOB, "short", SHORT)
    until(lambda: bobs.status == "running")
    assert alices.status == "waiting"


def test_one_address_that_has_all_places_holds_up_no_other(house: House) -> None:
    jam = Jam(house, max_running=2, max_waiting=10)
    crowd = [jam.service.start(f"{number}" * 64, "HANG", SHORT, client="mill") for number in range(4)]
    until(lambda: [run.status for run in crowd].count("running") == 2)
    bobs = jam.service.start(BOB, "HANG too", SHORT, client="home")
    until(lambda: bobs.status == "running")
    alices = jam.service.start(ALICE, "one too many", SHORT, client="school")
    assert [run.status for run in (*crowd, alices)].count("running") == 2
    assert alices.queue_place == 1, "before those of the crowd"


def test_a_run_stopped_while_waiting_never_begins(jam: Jam) -> None:
    jam.fill(1)
    second, third = (jam.service.start(ALICE, f"next {number}", SHORT) for number in range(2))
    num_passes = len(jam.model.batches)

    jam.service.stop(ALICE, second.id)

    assert ended(second).status == RunStatus.ABORTED
    for stream in second.streams.values():
        assert stream.finished is not None
        assert (stream.steps, stream.finished.detail) == ([], "stopped before it began")
    assert third.queue_place == 1
    assert len(jam.model.batches) == num_passes
    jam.service.start(BOB, "there is room again", SHORT)


def test_no_more_run_at_once_than_allowed(house: House) -> None:
    jam = Jam(house, max_running=3, max_waiting=10)
    runs = jam.fill(5)

    until(lambda: [run.status for run in runs].count("running") == 3)

    assert [run.queue_place for run in runs] == [0, 0, 0, 1, 2]
    jam.model.released.set()
    assert {ended(run).status for run in runs} == {RunStatus.FINISHED}


def test_whoever_follows_a_waiting_run_is_told_of_its_end(jam: Jam) -> None:
    jam.fill(1)
    waiting = jam.service.start(ALICE, "next", SHORT)
    told = threading.Event()
    with waiting.telling(told.set):
        assert not told.wait(0.01)
        jam.service.stop(ALICE, waiting.id)
        assert waiting.over.is_set()
        assert told.is_set()
