"""Who is next, begins, waits and is turned away: by the order, by the queue alone, and of a service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import MethodType, SimpleNamespace

import pytest

from gac_app.errors import BusyError
from gac_app.services.queue import queue as queue_module
from gac_app.services.queue.order import PRESENT_S, FairOrder, client_of, run_to_evict, visitor_of
from gac_app.services.queue.queue import OVERDUE_S, RunQueue
from gac_app.services.runs.runs import LiveRun, RunService
from gac_app.storage import RunStatus
from tests.clocks import HandClock
from tests.fakes import WAIT_S, FakeModel, Fault
from tests.services.house import ALICE, BOB, SHORT, House, end_of, ended, listed, until


@dataclass(eq=False)
class Run:
    """A run of `client/owner`, `client/owner batch` or `client/owner blind`."""

    name: str
    came_at: float = 0.0
    queue_place: int = -1
    num_changes: int = 0
    shown_s: float = 0.0
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        who, _, kind = self.name.partition(" ")
        self.id, self.is_of_batch, self.is_blind = self.name, kind == "batch", kind == "blind"
        self.client, self.owner = who.split("/")

    def hidden_s(self) -> float:
        return self.shown_s

    def changed(self) -> None:
        self.num_changes += 1


class Desk:
    """A queue whose runs go on until they are let go."""

    def __init__(self, *, max_running: int, max_waiting: int = 10, num_spare: int = 0) -> None:
        self.queue: RunQueue[Run] = RunQueue(
            lambda run: self.over.append(run) if run.released.wait(60) else None,
            lambda run, _: self.refused.append(run),
            max_running=max_running,
            max_waiting=max_waiting,
            num_spare=num_spare,
        )
        self.over: list[Run] = []
        self.taken: list[Run] = []
        self.refused: list[Run] = []

    def put(self, name: str) -> Run:
        run = Run(name, came_at=len(self.taken))
        self.queue.put(run, lambda: self.taken.append(run))
        return run

    def end(self, run: Run) -> None:
        num_running = self.queue.counts()
        run.released.set()
        until(lambda: run in self.over and self.queue.counts() != num_running)

    def of_its_own(self, timers: list[SimpleNamespace]) -> list[SimpleNamespace]:
        return [timer for timer in timers if timer.then.__self__ is self.queue]


def no_threads(monkeypatch: pytest.MonkeyPatch, prefix: str, but: int = 0) -> None:
    """No thread begins whose name begins so, but the first."""
    begin, left = threading.Thread.start, [but]

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith(prefix):
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.fixture
def desks() -> Iterator[list[Desk]]:
    made: list[Desk] = []
    yield made
    for desk in made:
        for run in desk.taken:
            run.released.set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """The queue's."""
    clock = HandClock()
    monkeypatch.setattr(queue_module, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """Those that are made; they do nothing by themselves. An earlier test's queue may still make some."""
    made: list[SimpleNamespace] = []

    def timer(seconds: float, then: MethodType, *_: object) -> SimpleNamespace:
        made.append(SimpleNamespace(seconds=seconds, then=then, start=lambda: None))
        return made[-1]

    monkeypatch.setattr(queue_module.threading, "Timer", timer)
    return made


@pytest.mark.parametrize(
    ("max_running", "num_spare", "names", "places"),
    [
        (1, 0, ["x/ann", "y/bob", "z/cyd"], [0, 1, 2]),
        (2, 0, ["x/ann", "x/ann", "x/ann"], [0, 0, 1]),  # nobody else is there
        (2, 0, ["x/ann", "y/bob", "x/ann"], [0, 0, 1]),
        (3, 0, ["x/ann", "y/bob", "x/ann", "y/bob"], [0, 0, 0, 1]),
        (1, 0, ["x/ann", "x/ann", "x/ann", "y/bob", "x/cyd"], [0, 3, 4, 1, 2]),  # clients in turn, then visitors
        (1, 0, ["x/ann batch", "y/bob"], [0, 1]),
        (2, 0, ["x/ann batch", "y/bob batch", "y/bob"], [0, 1, 0]),  # batches leave a place
        (3, 0, ["x/ann batch", "y/bob batch", "z/cyd batch"], [0, 0, 1]),
        (1, 1, ["x/ann", "y/bob"], [0, 1]),  # nobody has several
        (2, 1, ["x/ann", "x/ann", "y/bob", "z/cyd"], [0, 0, 0, 1]),  # one client has several: a spare place
        (2, 1, ["x/ann", "x/ann", "x/cyd"], [0, 0, 1]),
        (2, 1, ["x/ann", "x/ann", "y/bob batch"], [0, 0, 1]),
        (2, 0, ["x/ann", "x/ann", "y/bob"], [0, 0, 1]),
        (2, 2, ["x/ann", "x/ann", "y/bob", "z/cyd", "z/cyd"], [0, 0, 0, 0, 1]),
        (8, 0, ["x/ann blind", "x/ann blind", "y/bob"], [0, 0, 0]),  # how others' fare tells a visitor nothing
        (8, 0, ["x/ann blind", "x/ann", "x/ann batch", "x/ann blind", "x/bob"], [0, 1, 2, 3, 0]),
        (8, 0, ["x/ann", "x/ann blind", "x/ann", "y/bob"], [0, 1, 2, 0]),  # nor does it starve
        (8, 0, ["x/ann batch", "x/ann blind", "x/ann batch"], [0, 1, 2]),
    ],
)
def test_who_begins(desks: list[Desk], max_running: int, num_spare: int, names: list[str], places: list[int]) -> None:
    desks.append(desk := Desk(max_running=max_running, num_spare=num_spare))
    runs = [desk.put(name) for name in names]
    assert [run.queue_place for run in runs] == places
    assert desk.queue.counts() == (places.count(0), len(places) - places.count(0))
    assert all(run.num_changes for run in runs if run.queue_place)


@pytest.mark.parametrize(("max_running", "num_begun"), [(2, 1), (3, 2), (4, 3)])
def test_one_place_is_left_for_who_was_there(desks: list[Desk], max_running: int, num_begun: int) -> None:
    desks.append(desk := Desk(max_running=max_running, max_waiting=1))
    desk.end(desk.put("y/bob"))
    assert [desk.put("x/ann").queue_place for _ in range(max_running)] == [0] * num_begun + [1]
    with pytest.raises(BusyError):
        desk.put("x/ann")  # which could not begin either
    desk.end(desk.taken[1])
    assert desk.taken[-1].queue_place == 0


@pytest.mark.parametrize("shown_s", [0.0, 0.1, 600.0])
def test_what_is_hidden_holds_its_visitor_s_other_runs(desks: list[Desk], shown_s: float) -> None:
    desks.append(desk := Desk(max_running=4, max_waiting=1))
    blind = desk.put("x/ann blind")
    other = desk.put("x/ann")
    blind.shown_s = shown_s
    desk.end(blind)
    if shown_s > 1:
        assert other.queue_place == 1
        with pytest.raises(BusyError):
            desk.put("x/ann")
        desk.queue.reveal(blind)
    until(lambda: other.queue_place == 0)
    assert desk.put("x/ann").queue_place == 0
    until(lambda: not any(blind in getattr(thread, "args", ()) for thread in threading.enumerate()), "for its timer")


def test_a_full_queue_takes_nobody_or_displaces_one(desks: list[Desk]) -> None:
    desks.append(desk := Desk(max_running=1, max_waiting=2))
    desk.put("x/ann")
    second, third = desk.put("x/ann"), desk.put("x/ann")
    with pytest.raises(BusyError, match="The queue is full"):
        desk.put("x/ann")
    assert (len(desk.taken), desk.queue.counts()) == (3, (1, 2))
    bob = desk.put("y/bob")
    assert desk.refused == [third]
    assert (bob.queue_place, second.queue_place, desk.queue.counts()) == (1, 2, (1, 2))
    with pytest.raises(BusyError):
        desk.put("z/cyd")


def test_a_run_without_a_thread_costs_no_place(desks: list[Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    desks.append(desk := Desk(max_running=1))
    with monkeypatch.context() as patched:
        no_threads(patched, "run-")
        refused = desk.put("x/ann")
    assert (desk.refused, desk.queue.counts()) == ([refused], (0, 0))
    first, second = desk.put("x/ann"), desk.put("x/ann blind")
    first.shown_s = 60.0
    no_threads(monkeypatch, "Thread-")  # of timers
    desk.end(first)
    assert second.queue_place == 0


def test_answers_come_in_turn_where_there_is_one_thread(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    service = house.service()
    no_threads(monkeypatch, "run-", but=1)
    run = service.start(ALICE, "Hi", SHORT)
    assert run.over.wait(WAIT_S)
    assert run.status == RunStatus.FINISHED


def test_who_has_had_less_of_the_time_is_next(desks: list[Desk], clock: HandClock) -> None:
    desks.append(desk := Desk(max_running=1))
    for name, seconds in (("x/ann", 5.0), ("y/bob", 1.0)):
        run = desk.put(name)
        clock.now += seconds
        desk.end(run)
    desk.put("z/cyd")
    assert [desk.put(name).name for name in ("x/ann", "y/bob")] == ["x/ann", "y/bob"]
    assert [run.queue_place for run in desk.taken[-2:]] == [2, 1]


@pytest.mark.parametrize(("seconds", "num_running"), [(OVERDUE_S - 0.1, 2), (OVERDUE_S, 3)])
def test_long_runs_make_room_where_there_is_a_spare_place(
    desks: list[Desk], clock: HandClock, seconds: float, num_running: int
) -> None:
    desks.append(desk := Desk(max_running=2, num_spare=1))
    desk.put("x/ann")
    desk.put("y/bob")
    clock.now += seconds
    desk.put("z/cyd")
    desk.put("w/dan")
    assert desk.queue.counts() == (num_running, 4 - num_running)


def test_a_waiting_run_is_looked_at_again_once_others_are_late(
    desks: list[Desk], clock: HandClock, timers: list[SimpleNamespace]
) -> None:
    desks.append(desk := Desk(max_running=1, num_spare=1))
    desk.put("x/ann")
    assert desk.of_its_own(timers) == []
    waiting = desk.put("y/bob")
    [timer] = desk.of_its_own(timers)
    assert timer.seconds > OVERDUE_S
    timer.then()
    assert waiting.queue_place == 1
    clock.now += OVERDUE_S
    timer.then()
    assert waiting.queue_place == 0


def test_a_burst_of_runs_tells_only_those_that_move(desks: list[Desk], timers: list[SimpleNamespace]) -> None:
    """And makes one timer: else all that waits would pay for each newcomer."""
    desks.append(desk := Desk(max_running=1, max_waiting=100, num_spare=1))
    runs = [desk.put("x/ann") for _ in range(50)]
    assert [run.queue_place for run in runs] == list(range(50))
    assert [run.num_changes for run in runs[1:]] == [1] * 49
    desk.put("y/bob")
    assert [run.num_changes for run in runs[1:]] == [2] * 49
    assert len(desk.of_its_own(timers)) == 1


@pytest.mark.parametrize(
    ("newcomer", "waiting", "loser"),
    [
        ("y/bob", [], None),
        ("y/bob", ["x/ann"], None),
        ("y/bob", ["x/ann", "x/ann"], 1),
        ("y/bob", ["x/ann", "x/cyd", "x/ann"], 2),  # the visitor with most, of the client with most
        ("y/bob", ["x/cyd", "x/ann", "x/ann", "x/cyd", "x/cyd"], 4),
        ("y/bob", ["x/ann", "x/ann", "x/cyd"], 1),  # not the last that came
        ("y/bob", ["y/bob", "x/ann", "x/ann"], None),
        ("y/bob", ["y/bob", "x/ann", "x/ann", "x/ann"], 3),
        ("x/bob", ["x/ann", "x/ann", "x/cyd"], 1),  # within the client
        ("x/bob", ["x/ann", "x/cyd"], None),
        ("x/ann", ["x/ann", "x/ann"], None),
    ],
)
def test_who_gives_way_in_a_full_queue(newcomer: str, waiting: list[str], loser: int | None) -> None:
    runs = [Run(name) for name in waiting]
    assert run_to_evict(Run(newcomer), runs) is (None if loser is None else runs[loser])


# --- the order: clients get equal time, and so do the visitors of one client


@pytest.fixture
def order(clock: HandClock) -> FairOrder:
    return FairOrder(clock)


def test_a_new_client_starts_level_with_who_had_least(order: FairOrder) -> None:
    most, least, new = Run("mill/ann", 1), Run("home/bob", 2), Run("new/cyd", 3)
    order.register(most, [])
    order.register(least, [most])
    order.charge(most, 90.0)
    order.charge(least, 30.0)
    order.register(new, [most, least])
    assert order.in_order([new, most, least], []) == [least, new, most], "a new name gains nothing"
    order.charge(new, 1.0)
    assert order.in_order([new, most, least], []) == [least, new, most]
    order.charge(least, 2.0)
    assert order.in_order([new, most, least], []) == [new, least, most]


def test_a_new_visitor_starts_level_with_the_client_s_others(order: FairOrder) -> None:
    ann, elsewhere, new = Run("office/ann", 1), Run("home/bob", 2), Run("office/cyd", 3)
    order.register(ann, [])
    order.register(elsewhere, [ann])
    order.charge(ann, 30.0)
    order.register(new, [ann, elsewhere])
    assert order.in_order([new, ann], []) == [ann, new]


def test_coming_again_wipes_nothing_out(order: FairOrder) -> None:
    much, little = Run("mill/ann", 1), Run("home/bob", 2)
    order.register(much, [])
    order.register(little, [much])
    order.charge(much, 90.0)
    order.charge(little, 30.0)
    again = Run("mill/ann", 0)
    order.register(again, [little])
    assert order.in_order([again, little], []) == [little, again]


def test_who_was_long_away_is_forgotten(order: FairOrder, clock: HandClock) -> None:
    early, late = Run("mill/ann", 1), Run("home/bob", 2)
    order.register(early, [])
    order.charge(early, 90.0)
    assert order.are_others(client_of(late))
    assert order.are_others(visitor_of(late))
    assert not order.are_others(client_of(early))
    clock.now += PRESENT_S + 1
    order.register(late, [])
    order.charge(late, 1.0)
    assert not order.are_others(client_of(late))
    order.register(early, [late])
    assert order.in_order([late, early], []) == [early, late], "level, so in the order of arrival"


def test_who_waits_or_runs_for_long_is_not_forgotten(order: FairOrder, clock: HandClock) -> None:
    long, other = Run("mill/ann", 2), Run("home/bob", 1)
    order.register(long, [])
    order.charge(long, 90.0)
    clock.now += PRESENT_S + 1
    order.register(other, [long])
    assert order.in_order([long, other], []) == [other, long], "level, so in the order of arrival"


class Jam:
    """A service with one place, which a run holds until it is let go, and room for two that wait."""

    def __init__(self, house: House) -> None:
        self.model = FakeModel("a", 1, fault=Fault("hang", marker=b"HANG"))
        self.service: RunService = house.service([self.model], server={"max_running": 1, "max_waiting": 2})
        self.service.start(ALICE, "HANG", SHORT)
        assert self.model.is_hanging.wait(WAIT_S)


@pytest.fixture
def jam(house: House) -> Jam:
    return Jam(house)


def test_what_a_full_queue_refuses_is_not_tokenised(jam: Jam, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each of a thousand refused long prompts would cost as much as one that is taken."""
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
    first, last = (jam.service.start(ALICE, f"next {number}", SHORT) for number in range(2))
    bobs = jam.service.start(BOB, "only one", SHORT)
    assert ended(last).status == RunStatus.ABORTED
    assert "others had their turn" in end_of(last.streams["ensemble"]).detail
    assert [run.status for run in (first, bobs)] == ["waiting", "waiting"]
    with pytest.raises(BusyError):
        jam.service.start("c" * 64, "nobody has two more than this one", SHORT)


def test_a_run_stopped_while_waiting_never_begins(jam: Jam) -> None:
    second, third = (jam.service.start(ALICE, f"next {number}", SHORT) for number in range(2))
    num_passes, told = len(jam.model.batches), threading.Event()
    with second.telling(told.set):
        assert not told.wait(0.01)
        jam.service.stop(ALICE, second.id)
        assert told.is_set()
    assert ended(second).status == RunStatus.ABORTED
    for stream in second.streams.values():
        assert (stream.steps, end_of(stream).detail) == ([], "stopped before it began")
    assert third.queue_place == 1
    assert len(jam.model.batches) == num_passes
    jam.service.start(BOB, "there is room again", SHORT)
