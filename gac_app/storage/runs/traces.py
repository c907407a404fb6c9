"""The stored form of an answer's steps and of their outline: in parts, so that reading one step unpacks few others.

It is a mark, the number of values, the end of each part, and the parts: zlib over JSON of `decoding.trace`.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
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
from gac_app.storage.database.encryption import damage_named

T = TypeVar("T")

OUTLINED = 1024  # steps of a part of an outline
_STEPS = 32  # of a part of a trace
_MARK = b"GAC2"
_HEAD = struct.Struct("<4sI")  # mark, number of values


class Packed(NamedTuple):
    """An answer's steps and their outline, to be encrypted."""

    steps: bytes
    outline: bytes


def packed(events: Sequence[TokenEvent]) -> Packed:
    outline = _packed(events, lambda event: outline_to_json(StepOutline.of(event)), OUTLINED)
    return Packed(_packed(events, token_to_json, _STEPS), outline)


def _packed(events: Sequence[TokenEvent], to_json: Callable[[TokenEvent], Any], num_in_part: int) -> bytes:
    starts = range(0, len(events), num_in_part)
    values = ([to_json(event) for event in events[start : start + num_in_part]] for start in starts)
    parts = [zlib.compress(json.dumps(part, separators=(",", ":")).encode()) for part in values]
    ends = list(accumulate(map(len, parts)))
    return b"".join((_HEAD.pack(_MARK, len(events)), struct.pack(f"<{len(ends)}I", *ends), *parts))


def stored_events(load: Callable[[], bytes]) -> StoredSteps[TokenEvent]:
    """The steps of a stored answer; `load` gives what was packed."""
    return StoredSteps(load, token_from_json, _STEPS)


def stored_outline(load: Callable[[], bytes]) -> StoredSteps[StepOutline]:
    """The outline of a stored answer; `load` gives what was packed."""
    return StoredSteps(load, outline_from_json, OUTLINED)


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
        return self._at(found) if isinstance(found, int) else list(map(self._at, found))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class StoredSteps(LazySequence[T]):
    """Stored values, which are loaded when first looked at, and unpacked part by part.

    Args:
        load: gives what was packed.
        make: a value from its JSON.
        num_in_part: how many values were packed together.

    Raises:
        DamagedError: they cannot be read; on access.
    """

    def __init__(self, load: Callable[[], bytes], make: Callable[[Any], T], num_in_part: int) -> None:
        super().__init__(lambda: self._parts[0], self._read)
        self._load, self._make, self._num_in_part = load, make, num_in_part
        self._part: tuple[int, list[Any]] = (-1, [])  # the part read last, and its number

    @cached_property
    def _parts(self) -> tuple[int, list[bytes]]:
        """The number of values, and the packed parts."""
        data = self._load()
        with damage_named():
            mark, num_values = _HEAD.unpack_from(data)
            num_parts = -(-num_values // self._num_in_part)
            ends = struct.unpack_from(f"<{num_parts}I", data, _HEAD.size)
            start = _HEAD.size + 4 * num_parts
            bounds = [start, *(start + end for end in ends)]
            if mark != _MARK or bounds[-1] != len(data):
                raise ValueError("it does not end where it says")
            return num_values, [data[begin:end] for begin, end in pairwise(bounds)]

    def _read(self, position: int) -> T:
        number, index = divmod(position, self._num_in_part)
        known, values = self._part
        with damage_named():
            if known != number:
                values = json.loads(zlib.decompress(self._parts[1][number]))
                self._part = number, values
            return self._make(values[index])
