"""Who agrees that what they do here is handed on."""

from __future__ import annotations

import threading
from collections import OrderedDict

from gac_app.services.live_runs import owner_of

MAX_OWNERS = 10_000  # that are remembered; the one who agreed first goes first


class Consents:
    """What visitors said since this process began; the page says it when it loads. Who said nothing does not agree."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def set(self, visitor_key: str, consents: bool) -> None:
        """Of what the visitor starts from now on. Raises RequestError for what is no key."""
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
