"""How many answers the members have room for at once. Others wait; they do not fail."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import get_ident

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
        self._threads: dict[object, int] = {}  # those that used each place last

    def check(self) -> None:
        """Raises BusyError if waiting could last for ever: only this thread, or who holds `Decoding`s, can end one."""
        own, held = list(self._threads.values()).count(get_ident()), max(1, self.size - 1) - len(self._may_hold)
        if own + held >= self.size:
            raise BusyError("streams and steps left open leave no room for another answer; close one first")

    @contextmanager
    def place(self) -> Iterator[Callable[[], None]]:
        """A place, waited for, and what to call in the thread that uses it. Raises BusyError, see `check`."""
        self.check()
        self._places.get()
        place = object()

        def use() -> None:
            self._threads[place] = get_ident()

        use()
        try:
            yield use
        finally:
            del self._threads[place]
            self._places.put(None)

    def hold(self) -> None:
        """Take a place, to be given back. Raises BusyError if the program holds all that it may, or see `check`."""
        self.check()
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
