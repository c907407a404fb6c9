"""Stored steps: all come back, one is read without the others, and whoever looks takes a turn."""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Iterator

import pytest

from gac_app.decoding.trace.events import TokenEvent
from gac_app.decoding.trace.serialise import token_to_json
from gac_app.errors import DamagedError
from gac_app.storage import traces
from gac_app.storage.traces import StoredEvents, pack_events, unpack_json
from tests.storage.samples import token_event


def events_of(num_steps: int) -> list[TokenEvent]:
    return [token_event(f"word {position} ", position, is_ensembled=position % 3 == 0) for position in range(num_steps)]


def pack_as_before(events: list[TokenEvent]) -> bytes:
    """As versions wrote it that knew no parts."""
    return zlib.compress(json.dumps([token_to_json(event) for event in events]).encode())


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The parts that were unpacked."""
    found: list[bytes] = []
    decompress = zlib.decompress

    def note(data: bytes) -> bytes:
        found.append(data)
        return decompress(data)

    monkeypatch.setattr(traces.zlib, "decompress", note)
    return found


@pytest.mark.parametrize("pack", [pack_events, pack_as_before])
@pytest.mark.parametrize("num_steps", [0, 1, 31, 32, 33, 100])
def test_all_steps_come_back(num_steps: int, pack: object) -> None:
    events = events_of(num_steps)
    data = pack(events)  # type: ignore[operator]
    stored = StoredEvents(data)
    assert (len(stored), list(stored), stored[:]) == (num_steps, events, events)
    assert stored[2:40:7] == events[2:40:7]
    assert [stored[-1 - position] for position in range(num_steps)] == events[::-1]
    with pytest.raises(IndexError):
        stored[num_steps]
    assert unpack_json(data) == [token_to_json(event) for event in events]


def test_a_look_at_one_step_of_a_long_answer_reads_one_part(unpacked: list[bytes]) -> None:
    events = events_of(1440)
    data = pack_events(events)
    stored = StoredEvents(data)
    assert not unpacked, "nothing was looked at"
    assert stored[700] == events[700]
    assert [stored[position] for position in (701, 699, 700)] == [events[position] for position in (701, 699, 700)]
    assert len(unpacked) == 1
    assert len(unpacked[0]) < len(data) / 40


def test_the_outline_has_all_but_candidates_and_members() -> None:
    events = events_of(40)
    for event, outlined in zip(events, StoredEvents(pack_events(events)).outline, strict=True):
        assert (outlined.step.top, outlined.step.members) == ((), ())
        for name in ("text", "position", "token", "prob", "gate_confidence", "is_ensembled", "winner", "spellings"):
            whole, brief = (getattr(e, name, None) or getattr(e.step, name, None) for e in (event, outlined))
            assert brief == whole, name


def _damaged(data: bytes) -> list[bytes]:
    zeroed = bytearray(data)
    zeroed[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    of_another_program = zlib.compress(b'[{"title": "x"}]')
    return [data[:6], data[:-1], data + b"x", bytes(zeroed), b"", b"x" + data[1:], of_another_program]


@pytest.mark.parametrize("index", range(7))
def test_damaged_steps_are_told_as_such(index: int) -> None:
    with pytest.raises(DamagedError, match="damaged in the database"):
        list(StoredEvents(_damaged(pack_events(events_of(100)))[index]))


def test_traces_are_unpacked_in_turn_and_leave_time_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    data, decompress = pack_events(events_of(320)), zlib.decompress
    inside, most, busy_s = 0, 0, 0.0

    def slow(part: bytes) -> bytes:
        nonlocal inside, most, busy_s
        inside += 1
        most = max(most, inside)
        started = time.thread_time()
        while time.thread_time() - started < 0.002:
            pass
        busy_s += time.thread_time() - started
        inside -= 1
        return decompress(part)

    monkeypatch.setattr(traces.zlib, "decompress", slow)
    threads = [threading.Thread(target=lambda: list(StoredEvents(data))) for _ in range(4)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert time.monotonic() - started >= 2 * busy_s
