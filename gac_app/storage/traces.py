"""The stored form of an answer's steps: in parts, so that reading one step unpacks few others.

A trace is a mark, the number of steps, the end of each part, and the parts: zlib over the JSON of `decoding.trace`.
Older traces are a single part without that header.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import TypeVar, overload

from gac_app.decoding.trace import Json, TokenEvent, token_from_json, token_to_json
from gac_app.storage.sealing import damage_named

T = TypeVar("T")

_MARK = b"GAC2"  # zlib's own begin with an x
_STEPS = 32  # of a part
_HEAD_BYTES = 8  # mark, number of steps

# One part is unpacked at a time, for all visitors, and then the thread waits as long as that took. So threads that
# decode get at least half of the interpreter's time.
_turn = threading.Lock()


def pack_events(events: Sequence[TokenEvent]) -> bytes:
    """The steps of an answer as a trace."""
    parts = [_packed(events[start : start + _STEPS]) for start in range(0, len(events), _STEPS)]
    ends = list(accumulate(map(len, parts)))
    return b"".join((_MARK, *(number.to_bytes(4, "little") for number in (len(events), *ends)), *parts))


def unpack_json(data: bytes) -> list[Json]:
    """All stored steps in the format of `decoding.trace`. Raises DamagedError if they cannot be read."""
    trace = _Parts(data)
    return [step for index in range(len(trace)) for step in trace.unpacked(index)]


class LazySequence(Sequence[T]):
    """A sequence whose items are made on access.

    Args:
        at: makes the item at a position from 0 on.
    """

    def __init__(self, length: int, at: Callable[[int], T]) -> None:
        self._length = length
        self._at = at

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        found = range(self._length)[index]
        return self._at(found) if isinstance(found, int) else list(map(self._at, found))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class StoredEvents(LazySequence[TokenEvent]):
    """The steps of a stored answer.

    Args:
        data: the result of `pack_events`, of this or an earlier version.
        is_outline: leave out members and candidates.

    Raises:
        DamagedError: `data` cannot be read, now or on access.
    """

    def __init__(self, data: bytes, *, is_outline: bool = False) -> None:
        self._parts = _Parts(data)
        self._is_outline = is_outline
        self._part: tuple[int, list[Json]] = (-1, [])  # the part read last, and its number
        super().__init__(self._parts.num_steps, self._read)

    @property
    def outline(self) -> StoredEvents:
        """The same steps without candidates and members, which are read much faster."""
        return StoredEvents(self._parts.data, is_outline=True)

    def _read(self, position: int) -> TokenEvent:
        number, index = self._parts.place(position)
        part = self._part
        if part[0] != number:
            part = self._part = number, self._parts.unpacked(number)
        with damage_named():
            step = part[1][index]
            return token_from_json({**step, "top": [], "members": []} if self._is_outline else step)


class _Parts:
    """The parts of a trace, unpacked one by one."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._is_old = not data.startswith(_MARK)
        if self._is_old:
            self._bounds = [0, len(data)]
            return
        with damage_named():
            self._num_steps = int.from_bytes(data[4:8], "little")
            num_parts = -(-self._num_steps // _STEPS)
            start = min(_HEAD_BYTES + 4 * num_parts, len(data))
            ends = [int.from_bytes(data[at : at + 4], "little") for at in range(_HEAD_BYTES, start, 4)]
            self._bounds = [start, *(start + end for end in ends)]
            if self._bounds[-1] != len(data):
                raise ValueError("it does not end where it says")

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @property
    def num_steps(self) -> int:
        return len(self._whole) if self._is_old else self._num_steps

    def place(self, position: int) -> tuple[int, int]:
        """The part of a step, and its place there."""
        return (0, position) if self._is_old else divmod(position, _STEPS)

    def unpacked(self, number: int) -> list[Json]:
        """The steps of a part."""
        return self._whole if self._is_old else _unpacked(self.data[slice(*self._bounds[number : number + 2])])

    @cached_property
    def _whole(self) -> list[Json]:
        return _unpacked(self.data)


def _unpacked(data: bytes) -> list[Json]:
    with _turn:
        started = time.thread_time()
        with damage_named():
            steps: list[Json] = json.loads(zlib.decompress(data))
        time.sleep(time.thread_time() - started)
    return steps


def _packed(events: Sequence[TokenEvent]) -> bytes:
    return zlib.compress(json.dumps([token_to_json(event) for event in events], separators=(",", ":")).encode())
