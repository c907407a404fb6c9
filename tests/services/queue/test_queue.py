"""How many runs decode at once, who is next, and who is turned away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from gac_app.errors import BusyError
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
    jam.service._store.flush()
    assert len(listed(jam.service)) == 3, "nor stored"


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


def test_whoever_follows_a_waiting_run_is_told_of_its_end(jam: Jam) -> None:
    jam.fill(1)
    waiting = jam.service.start(ALICE, "next", SHORT)
    told = threading.Event()
    with waiting.telling(told.set):
        assert not told.wait(0.01)
        jam.service.stop(ALICE, waiting.id)
        assert waiting.over.is_set()
        assert told.is_set()
