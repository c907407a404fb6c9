"""Stored steps and their outline: all come back, and one is read without the others."""

from __future__ import annotations

import json
import zlib
from unittest.mock import Mock

import pytest

from gac_app.decoding.trace.events import StepOutline, TokenEvent
from gac_app.decoding.trace.serialise import outline_from_json, outline_to_json, token_to_json
from gac_app.errors import DamagedError
from gac_app.storage.runs import traces
from gac_app.storage.runs.traces import OUTLINED, LazySequence, packed, stored_events, stored_outline
from tests.storage.samples import token_event


def events_of(num_steps: int) -> list[TokenEvent]:
    return [token_event(f"word {position} ", position, is_ensembled=position % 3 == 0) for position in range(num_steps)]


def steps_in(data: bytes) -> traces.StoredSteps[TokenEvent]:
    return stored_events(lambda: data)


@pytest.mark.parametrize("num_steps", [0, 1, 31, 32, 33, 100])
def test_all_steps_come_back(num_steps: int) -> None:
    events = events_of(num_steps)
    data = packed(events).steps
    stored = steps_in(data)
    assert (len(stored), list(stored), stored[:]) == (num_steps, events, events)
    assert stored[2:40:7] == events[2:40:7]
    assert [stored[-1 - position] for position in range(num_steps)] == events[::-1]
    with pytest.raises(IndexError):
        stored[num_steps]
    assert traces.unpack_json(data) == [token_to_json(event) for event in events]


@pytest.mark.parametrize("num_steps", [0, 1, OUTLINED, 2 * OUTLINED + 3])
def test_an_outline_comes_back_with_all_that_is_drawn(num_steps: int) -> None:
    events = events_of(num_steps)
    outline = stored_outline(lambda: packed(events).outline)
    assert list(outline) == list(map(StepOutline.of, events))
    assert outline[num_steps // 2 :] == list(map(StepOutline.of, events[num_steps // 2 :]))


def test_a_piece_of_a_long_outline_reads_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces.zlib, "decompress", unpacked := Mock(wraps=zlib.decompress))
    steps, data = packed(events_of(6 * OUTLINED))
    outline = stored_outline(lambda: data)
    assert len(outline) == 6 * OUTLINED
    assert not unpacked.called, "the number is told without a part"
    assert outline[OUTLINED : 2 * OUTLINED][0].text == f"word {OUTLINED} "
    assert unpacked.call_count == 1
    assert len(data) < len(steps) / 4


@pytest.mark.parametrize("changes", [
    {"text": "", "token": b""}, {"text": "", "token": b"\xc3"},  # half a character
    {"is_ensembled": True, "is_drawn": True, "winner": ""}, {"is_forced": True, "is_partial": True},
    {"prob": 0.123456, "gate_confidence": 1.0}, {"gate_choice": "é".encode()}, {"gate_choice": b""},
])  # fmt: skip
def test_every_value_of_an_outline_is_written(changes: dict[str, object]) -> None:
    plain = StepOutline("é", "é".encode(), False, False, False, False, "Smol", 0.5, 0.25)
    outline = plain._replace(**changes)  # type: ignore[arg-type]
    assert outline_from_json(json.loads(json.dumps(outline_to_json(outline)))) == outline


def test_damaged_steps_are_told_as_such() -> None:
    data, of_another_program = packed(events_of(100)).steps, zlib.compress(b'[{"title": "x"}]')
    zeroed = data[: len(data) // 2].ljust(len(data), b"\0")
    for damaged in (data[:6], data[:-1], data + b"x", zeroed, b"", b"x" + data[1:], of_another_program):
        with pytest.raises(DamagedError, match="damaged in the database"):
            list(steps_in(damaged))


def test_lazy_values_are_equal_to_the_same_values() -> None:
    lazy = LazySequence(lambda: 3, lambda position: position * 2)
    assert lazy == [0, 2, 4] == lazy[:]
    assert lazy == LazySequence(lambda: 3, lambda position: 2 * position)
    for other in ([0, 2], [0, 2, 5], "024", 3, {0, 2, 4}, iter([0, 2, 4])):
        assert lazy != other
