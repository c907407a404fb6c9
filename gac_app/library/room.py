"""How many answers the members have room for at once. Others wait; they do not fail."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from gac_app.errors import BusyError


class Room:
    """Places for answers.

    Args:
        size: places. All but one of them may be taken by `Decoding`s, which a program holds as long as it likes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._places = threading.BoundedSemaphore(size)
        self._held = threading.BoundedSemaphore(max(1, size - 1))

    def place(self) -> AbstractContextManager[object]:
        """A place, waited for."""
        return self._places

    def hold(self) -> Callable[[], None]:
        """A place that its holder gives back by the function returned. Raises BusyError if the program holds all that
        it may: waiting could last for ever.
        """
        if not self._held.acquire(blocking=False):
            raise BusyError(f"{max(1, self.size - 1)} answers are decoded step by step already; close one first")
        self._places.acquire()

        def give_back() -> None:
            self._places.release()
            self._held.release()

        return give_back
