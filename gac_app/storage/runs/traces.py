"""The stored form of an answer's steps and of their outline: in parts, so that reading one step unpacks few others.

It is a mark, the number of values, the end of each part, and the parts: zlib over JSON of `decoding.trace`. Older steps
are a single part without that header; older answers have no outline.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar, overload

from gac_app.decoding.trace import (
    Json,
    StepOutline,
    TokenEvent,
    outline_from_json,
    outline_to_json,
    token_from_json,
    token_to_json,
)
from gac_app.storage.database.sealing import damage_named

T = TypeVar("T")

OUTLINED = 1024  # steps of a part of an outline
_STEPS = 32  # of a part of a trace
_MARK = b"GAC2"  # zlib's own begin with an x
_HEAD_BYTES = 8  # mark, number of values


class Packed(NamedTuple):
    """An answer's steps and their outline, to be sealed."""

    steps: bytes
    outline: bytes


def packed(events: Sequence[TokenEvent]) -> Packed:
    return Packed(pack_events(events), pack_outline(events))


def pack_events(events: Sequence[TokenEvent]) -> bytes:
    """The steps of an answer as a trace."""
    return _packed(events, token_to_json, _STEPS)


def pack_outline(events: Sequence[TokenEvent]) -> bytes:
    """The outline of an answer's steps."""
    return _packed(events, lambda event: outline_to_json(StepOutline.of(event)), OUTLINED)


def unpack_json(data: bytes) -> list[Json]:
    """All stored steps in the format of `decoding.trace`. Raises DamagedError if they cannot be read."""
    return list(StoredSteps(lambda: data, lambda step: step, _STEPS))


class LazySequence(Sequence[T]):
    """A sequence whose items are made on access.

    Args:
        length: called when it is needed.
        at: makes the item at a position from 0 on.
    """

    def __init__(self, length: Callable[[], int], at: Callable[[int], T]) -> None:
        self._length = length
        self._at = at

    def __len__(self) -> int:
        return self._length()

    def __iter__(self) -> Iterator[T]:
        return map(self._at, range(len(self)))

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        found = range(len(self))[index]
        return self._at(found) if isinstance(found, int) else self._several(found)

    def _several(self, positions: range) -> list[T]:
        return list(map(self._at, positions))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class StoredSteps(LazySequence[T]):
    """Stored values, which are loaded when first looked at, and unpacked part by part.

    Args:
        load: gives what was packed, of this or an earlier version.
        make: a value from its JSON.
        num_in_part: how many values were packed together.

    Raises:
        DamagedError: they cannot be read; on access.
    """

    def __init__(self, load: Callable[[], bytes], make: Callable[[Any], T], num_in_part: int) -> None:
        super().__init__(lambda: self._parts.num_values, self._read)
        self._load, self._make, self._num_in_part = load, make, num_in_part
        self._part: tuple[int, list[Any]] = (-1, [])  # the part read last, and its number

    def __iter__(self) -> Iterator[T]:
        for number in range(len(self._parts)):
            with damage_named():
                values = list(map(self._make, self._parts.unpacked(number)))
            yield from values

    @cached_property
    def _parts(self) -> _Parts:
        return _Parts(self._load(), self._num_in_part)

    def _read(self, position: int) -> T:
        return self._several(range(position, position + 1))[0]

    def _several(self, positions: range) -> list[T]:
        found, part = [], self._part
        with damage_named():
            for position in positions:
                number, index = self._parts.place(position)
                if part[0] != number:
                    part = self._part = number, self._parts.unpacked(number)
                found.append(self._make(part[1][index]))
        return found


def stored_events(load: Callable[[], bytes]) -> StoredSteps[TokenEvent]:
    """The steps of a stored answer."""
    return StoredSteps(load, token_from_json, _STEPS)


class StoredOutline(LazySequence[StepOutline]):
    """The outline of a stored answer.

    Args:
        load: gives what was packed; None = an earlier version stored the answer, so the outline is made of the steps.
        events: the answer's steps.
    """

    def __init__(self, load: Callable[[], bytes | None], events: Sequence[TokenEvent]) -> None:
        super().__init__(lambda: len(self._found), lambda position: self._found[position])
        self._load, self._events = load, events

    def __iter__(self) -> Iterator[StepOutline]:
        return iter(self._found)

    def _several(self, positions: range) -> list[StepOutline]:
        return self._found._several(positions)

    @cached_property
    def _found(self) -> LazySequence[StepOutline]:
        data = self._load()
        if data is None:
            return LazySequence(lambda: len(self._events), lambda position: StepOutline.of(self._events[position]))
        return StoredSteps(lambda: data, outline_from_json, OUTLINED)


class _Parts:
    """The parts of packed values, unpacked one by one."""

    def __init__(self, data: bytes, num_in_part: int) -> None:
        self._data, self._num_in_part = data, num_in_part
        self._is_old = not data.startswith(_MARK)
        self._bounds = [0, len(data)]
        if self._is_old:
            return
        with damage_named():
            self._num_values = int.from_bytes(data[4:8], "little")
            num_parts = -(-self._num_values // num_in_part)
            start = _HEAD_BYTES + 4 * num_parts
            ends = struct.unpack_from(f"<{num_parts}I", data, _HEAD_BYTES)
            self._bounds = [start, *(start + end for end in ends)]
            if self._bounds[-1] != len(data):
                raise ValueError("it does not end where it says")

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @property
    def num_values(self) -> int:
        return len(self._whole) if self._is_old else self._num_values

    def place(self, position: int) -> tuple[int, int]:
        """The part of a value, and its place there."""
        return (0, position) if self._is_old else divmod(position, self._num_in_part)

    def unpacked(self, number: int) -> list[Any]:
        """The values of a part."""
        return self._whole if self._is_old else _unpacked(self._data[slice(*self._bounds[number : number + 2])])

    @cached_property
    def _whole(self) -> list[Any]:
        return _unpacked(self._data)


def _packed(events: Sequence[TokenEvent], to_json: Callable[[TokenEvent], Any], num_in_part: int) -> bytes:
    starts = range(0, len(events), num_in_part)
    parts = [_compressed(list(map(to_json, events[start : start + num_in_part]))) for start in starts]
    ends = list(accumulate(map(len, parts)))
    return b"".join((_MARK, *(number.to_bytes(4, "little") for number in (len(events), *ends)), *parts))


def _compressed(values: list[Any]) -> bytes:
    return zlib.compress(json.dumps(values, separators=(",", ":")).encode())


def _unpacked(data: bytes) -> list[Any]:
    with damage_named():
        values: list[Any] = json.loads(zlib.decompress(data))
    return values
