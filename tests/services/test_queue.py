"""How many runs decode at once, who is next, and who is turned away."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gac_app.errors import BusyError
from gac_app.services.runs import LiveRun, RunService
from gac_app.storage import RunStatus
from tests.fakes import WAIT_S, FakeModel, Fault
from tests.services.house import ALICE, BOB, SHORT, House, ended, until


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
    lines = jam.service.history(BOB)
    assert [line.run_id for line in lines] == [second.id]


def test_one_too_many_is_turned_away_and_leaves_no_row(jam: Jam) -> None:
    running, *_ = jam.fill(1)
    waiting = [jam.service.start(ALICE, f"next {number}", SHORT) for number in range(2)]

    with pytest.raises(BusyError, match="queue is full"):
        jam.service.start(BOB, "one too many", SHORT)

    jam.model.released.set()
    for run in (running, *waiting):
        ended(run)
    assert jam.service.history(BOB) == []
    assert ended(jam.service.start(BOB, "now", SHORT)).status == RunStatus.FINISHED


def test_a_run_stopped_while_it_waits_never_begins_and_the_next_moves_up(jam: Jam) -> None:
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


def test_a_run_wakes_whoever_watches_it(jam: Jam) -> None:
    jam.fill(1)
    waiting = jam.service.start(ALICE, "next", SHORT)
    waiting.wait(0)  # what there was is seen

    assert waiting.wait(0.01) is False
    jam.service.stop(ALICE, waiting.id)

    assert waiting.wait(WAIT_S) is True
