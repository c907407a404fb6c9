"""A thread that does something every few seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from gac_app.errors import StorageError
from gac_app.storage.database.engine import REFUSALS


class Repeater:
    """Does `work` every `every_s` seconds, until `stop`. What the database refuses waits for the next time: other
    writes fail too, and report it.
    """

    def __init__(self, name: str, every_s: float, work: Callable[[], object]) -> None:
        self._every_s, self._work = every_s, work
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Stop, and wait for what is under way, at most `timeout_s`."""
        self._stopped.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            with suppress(StorageError, *REFUSALS):
                self._work()
