"""How many answers the members have room for at once. Others wait; they do not fail."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from gac_app.errors import BusyError


class Room:
    """Places for answers. They may be given back while garbage is collected, in any thread: `SimpleQueue.put` can
    interrupt itself, a semaphore cannot.

    Args:
        size: places. All but one of them may be taken by `Decoding`s, which a program holds as long as it likes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(size):
            self._places.put(None)
        self._may_hold = deque([None] * max(1, size - 1))

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place, waited for. Raises BusyError if the only one is held: its holder may be who asks."""
        if self.size == 1 and not self._may_hold:
            raise BusyError("an answer is decoded step by step, and there is no room for another; close it first")
        self._places.get()
        try:
            yield
        finally:
            self._places.put(None)

    def hold(self) -> None:
        """Take a place, to be given back. Raises BusyError if the program holds all that it may: waiting could last
        for ever.
        """
        try:
            self._may_hold.pop()
        except IndexError:
            most = max(1, self.size - 1)
            raise BusyError(f"{most} answers are decoded step by step already; close one first") from None
        self._places.get()

    def give_back(self) -> None:
        """Give back a place that was held."""
        self._places.put(None)
        self._may_hold.append(None)
