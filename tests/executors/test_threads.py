"""A member in a thread of its own answers as one in the caller's thread does, and its troubles stay its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace

import pytest

from gac_app.decoding.contexts import get_within
from gac_app.errors import MemberError
from gac_app.executors import batch_scheduler, threads
from gac_app.executors.fair_queue import ReadCommand
from gac_app.executors.threads import ThreadMember
from tests.fakes import SOON_S, WAIT_S, FakeModel, after, busy, mapping_of, open_text
from tests.services.house import until

Make = Callable[[FakeModel], ThreadMember]


@pytest.fixture
def make() -> Iterator[Make]:
    """Members that are closed at the end, their hanging passes let go."""
    made: list[tuple[FakeModel, ThreadMember]] = []

    def make(model: FakeModel) -> ThreadMember:
        made.append((model, ThreadMember(model, mapping_of(model))))
        return made[-1][1]

    yield make
    for model, member in made:
        model.released.set()
        member.close()


def test_a_prompt_is_not_read_on_once_it_is_freed(make: Make) -> None:
    model = FakeModel()
    model.chunk_size = 4
    member = make(model)
    busy(member, model)
    sequence = open_text(member, "a prompt of several chunks")
    asked = member.read(after(sequence))
    member.free(sequence)
    model.released.set()
    with pytest.raises(MemberError, match="the sequence was freed"):
        asked.result(WAIT_S)
    assert len(sequence.ids) <= model.chunk_size


def test_a_first_read_waits_for_others_no_longer_than_a_moment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    member = make(FakeModel())
    monkeypatch.setattr(member._scheduler, "max_wait_s", lambda: 10 * WAIT_S)
    assert member.read(after(open_text(member, "alone"))).result(SOON_S).num_read > 0


def test_who_read_last_is_waited_for_beside_what_was_left(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """One with a sequence would read every second time only, and one with several as often as they like."""
    for module in (threads, batch_scheduler):
        monkeypatch.setattr(module, "MAX_WAIT_S", SOON_S / 4)
    model, passes = FakeModel(), list[list[str]]()
    read, begin = model.read, threading.Event()
    noted = lambda asked: passes.append(sorted(one.sequence.share[0] for one in asked)) or read(asked)  # noqa: E731
    monkeypatch.setattr(model, "read", noted)
    monkeypatch.setattr(model.costs, "gain", lambda *_: 2 * WAIT_S)
    member = make(model)
    one, other, left = (member.open([65], (address, name)) for address, name in ("ax", "by", "bz"))
    member._put(lambda: begin.wait(WAIT_S) and None)
    first = [member.read(after(sequence)) for sequence in (one, other, left)]
    begin.set()
    for future in first[:2]:
        future.result(WAIT_S)
    time.sleep(SOON_S / 100)  # who does not wait begins by now
    again = [member.read(after(sequence, [66])) for sequence in (one, other)]
    for future in (*first, again[0]):
        future.result(WAIT_S)
    assert passes[:2] == [["a", "b"], ["a", "b"]]


def test_a_wait_that_is_over_as_it_begins_ends() -> None:
    """`SimpleQueue.get` may wait for ever then, before Python 3.13."""

    def wait_often() -> None:
        for _ in range(100_000):
            with suppress(queue.Empty):
                get_within(queue.SimpleQueue[None](), 1e-9)

    waiting = threading.Thread(target=wait_often, daemon=True)
    waiting.start()
    waiting.join(WAIT_S)
    assert not waiting.is_alive()


def test_a_sequence_too_many_fails_its_own_read_only(make: Make) -> None:
    model = FakeModel(max_sequences=1)
    member = make(model)
    first, second = open_text(member, "first"), open_text(member, "second")
    member.read(after(first)).result(WAIT_S)
    with pytest.raises(MemberError, match="holds as many sequences as it can"):
        member.read(after(second)).result(WAIT_S)
    member.free(second)
    member.free(first)
    assert member.read(after(open_text(member, "third"))).result(WAIT_S).num_read > 0
    assert model.num_held == 1


def test_close_finishes_what_was_asked_then_releases_the_model(make: Make) -> None:
    model = FakeModel(delay_s=0.02)
    member = make(model)
    waiting = [member.read(after(open_text(member, f"text {number}"))) for number in range(3)]
    member.close()
    assert all(future.done() and future.exception() is None for future in waiting)
    assert model.is_closed
    model, closed = FakeModel(delay_s=0.02), list[None]()
    other = make(model)

    def close(_: object) -> None:
        other.close()
        closed.append(None)

    other.read(after(open_text(other, "text"))).add_done_callback(close)
    until(lambda: model.is_closed, "for its end")
    assert closed == [None], "its own thread may be the one that collects garbage"


def test_a_hanging_model_does_not_hang_close(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_CLOSE_TIMEOUT_S", 0.1)
    model = FakeModel()
    member = make(model)
    busy(member, model)
    started = time.monotonic()
    member.close()
    assert time.monotonic() - started < SOON_S
    assert not model.is_closed, "the model is in use"


def test_a_closed_member_refuses_at_once(make: Make) -> None:
    member = make(FakeModel())
    sequence = open_text(member, "too late")
    member.close()
    member.close()
    with pytest.raises(MemberError, match="a: has been closed"):
        member.read(after(sequence)).result(timeout=0)


class RacedQueue(queue.SimpleQueue[object]):
    """A queue into which `close` is called while a read is put: it comes first, if nothing holds it back."""

    close: Callable[[], None]

    def __init__(self) -> None:
        self._is_closed = threading.Event()

    def put(self, command: object) -> None:  # type: ignore[override]
        if isinstance(command, ReadCommand):
            threading.Thread(target=self.close, daemon=True).start()
            self._is_closed.wait(0.2)
        super().put(command)
        if command is None:
            self._is_closed.set()


def test_a_read_that_was_taken_is_answered_though_it_closes(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    raced = RacedQueue()
    monkeypatch.setattr(threads, "queue", SimpleNamespace(SimpleQueue=lambda: raced, Empty=queue.Empty))
    member = make(FakeModel())
    raced.close = member.close
    assert member.read(after(open_text(member, "just in time"))).result(SOON_S).num_read > 0
