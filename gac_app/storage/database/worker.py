"""A thread that works when there is something to do."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """Does `work` in a thread whenever it is woken, and a last time when it is closed.

    Args:
        work: returns whether it succeeded. If not, it is done again after a pause. Told whether it is the last time.
        pauses_s: the first pause after a failure; each further one is twice as long, up to the second number.
        every_s: gives the seconds after which it works without being woken; None = never.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[bool], bool],
        pauses_s: tuple[float, float],
        every_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._work, self._pauses_s, self._every_s = work, pauses_s, every_s
        self._is_woken, self._is_closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._is_woken.set()

    def close(self, timeout_s: float | None = None) -> None:
        """Work a last time, and wait for it, at most `timeout_s`."""
        self._is_closed.set()
        self._is_woken.set()
        if self._thread.ident:
            self._thread.join(timeout_s)

    @property
    def is_closed(self) -> bool:
        return self._is_closed.is_set()

    def _run(self) -> None:
        first_s, longest_s = self._pauses_s
        pause_s, is_last = 0.0, False
        while not is_last:
            self._is_closed.wait(pause_s)
            self._is_woken.wait(self._every_s())
            self._is_woken.clear()
            is_last = self.is_closed  # looked at after `clear`, so that no closing is missed
            if self._work(is_last):
                pause_s = 0.0
            else:
                pause_s = min(2 * pause_s, longest_s) or first_s
                self._is_woken.set()
