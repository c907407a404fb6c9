"""Reads a generator in a thread of its own, so that whoever takes its values can stop at any time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from contextvars import Context
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")

_LOOK_S = 0.1


def read_apart(
    make: Callable[[], Generator[T, None, None]], is_stopping: threading.Event, context: Context
) -> Iterator[T]:
    """The values of a generator, until `is_stopping` is set.

    A generator that waits, as for a GPU, cannot be interrupted: its thread closes it at its next value. Raises what it
    raises.

    Args:
        context: in which the generator is made and read.
    """
    found: SimpleQueue[T | BaseException | _End] = SimpleQueue()

    def read() -> None:
        try:
            with closing(make()) as values:
                for value in values:
                    if is_stopping.is_set():
                        return
                    found.put(value)
            found.put(_End())
        except BaseException as error:
            found.put(error)

    threading.Thread(target=context.run, args=(read,), name="apart", daemon=True).start()
    while not is_stopping.is_set():
        try:
            value = found.get(timeout=_LOOK_S)
        except Empty:
            continue
        if isinstance(value, _End):
            return
        if isinstance(value, BaseException):
            raise value
        yield value


class _End:
    """Follows the last value."""
