"""How many answers the members have room for at once. Others wait; they do not fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from gac_app.errors import BusyError


class Room:
    """Places for answers. They may be given back while garbage is collected, in any thread: `SimpleQueue.put` can
    interrupt itself, a semaphore cannot.

    Args:
        size: places. All but one of them may be taken by `Decoding`s, which a program holds as long as it likes.
    """

    def __init__(self, size: int) -> None:
        self.size, self._num_held = size, max(1, size - 1)
        self._places: SimpleQueue[None] = SimpleQueue()
        self._held: SimpleQueue[None] = SimpleQueue()
        for places, number in ((self._places, size), (self._held, self._num_held)):
            for _ in range(number):
                places.put(None)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place, waited for."""
        self._places.get()
        try:
            yield
        finally:
            self._places.put(None)

    def hold(self) -> Callable[[], None]:
        """A place that its holder gives back by the function returned. Raises BusyError if the program holds all that
        it may: waiting could last for ever.
        """
        try:
            self._held.get_nowait()
        except Empty:
            raise BusyError(f"{self._num_held} answers are decoded step by step already; close one first") from None
        self._places.get()

        def give_back() -> None:
            self._places.put(None)
            self._held.put(None)

        return give_back
