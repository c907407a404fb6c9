"""Which visitors agree that their runs and votes are published."""

from __future__ import annotations

import threading
from collections import OrderedDict

from gac_app.services.live_runs import owner_of

MAX_OWNERS = 10_000  # remembered; the oldest is dropped first


class Consents:
    """The visitors' choices since this process began; the page sends them when it loads. The default is no consent."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def set(self, visitor_key: str, consents: bool) -> None:
        """Set the choice for everything that the visitor starts from now on. Raises RequestError for an invalid key."""
        owner = owner_of(visitor_key)
        with self._lock:
            self._owners.pop(owner, None)
            if consents:
                self._owners[owner] = None
            if len(self._owners) > MAX_OWNERS:
                self._owners.popitem(last=False)

    def has(self, owner: str) -> bool:
        with self._lock:
            return owner in self._owners
