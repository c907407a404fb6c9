"""Which visitors agree that their runs and votes are published."""

from __future__ import annotations

import threading

from gac_app.recent import Recent
from gac_app.services.visitors import owner_of

MAX_OWNERS = 50_000  # remembered; the oldest is dropped first
MAX_BROWSERS = 16  # of an owner
_OTHERS = "others"


class Consents:
    """The visitors' choices since this process began; the page sends them when it loads. The default is no consent.

    A signed-in visitor may use several browsers, and each asks: the visitor consents only if all that asked were told
    yes.
    """

    def __init__(self) -> None:
        self._owners: Recent[str, dict[str, bool]] = Recent(MAX_OWNERS)
        self._lock = threading.Lock()

    def set(self, visitor_key: str, consents: bool, browser: str = "") -> None:
        """Set the choice for everything that the visitor starts from now on. Raises RequestError for an invalid key.

        Args:
            browser: where the choice was made.
        """
        owner = owner_of(visitor_key)
        with self._lock:
            choices = self._owners.get(owner, {})
            if browser not in choices and len(choices) >= MAX_BROWSERS:
                browser, consents = _OTHERS, consents and choices.get(_OTHERS, True)
            self._owners[owner] = {**choices, browser: consents}

    def has(self, owner: str, default: bool = False) -> bool:
        """`default`: of a visitor who was not asked."""
        with self._lock:
            choices = self._owners.get(owner)
        return default if choices is None else all(choices.values())
