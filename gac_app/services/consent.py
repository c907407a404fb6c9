"""Which visitors agree that their runs and votes are published."""

from __future__ import annotations

import threading
from collections import OrderedDict

from gac_app.services.live_runs import owner_of

MAX_OWNERS = 50_000  # whose word is remembered; of the one who said something first it goes first
MAX_BROWSERS = 16  # of an owner
_OTHERS = "others"


class Consents:
    """What visitors said since this process began; the page says it when it loads. Who said nothing does not agree.

    Who is signed in may use several browsers, and each asks: they agree only if nobody said no in any of them.
    """

    def __init__(self) -> None:
        self._owners: OrderedDict[str, dict[str, bool]] = OrderedDict()
        self._lock = threading.Lock()

    def set(self, visitor_key: str, consents: bool, browser: str = "") -> None:
        """Of what the visitor starts from now on. Raises RequestError for what is no key.

        Args:
            browser: in which it was said.
        """
        owner = owner_of(visitor_key)
        with self._lock:
            said = self._owners.pop(owner, {})
            if browser not in said and len(said) >= MAX_BROWSERS:
                browser, consents = _OTHERS, consents and said.get(_OTHERS, True)
            self._owners[owner] = {**said, browser: consents}
            if len(self._owners) > MAX_OWNERS:
                self._owners.popitem(last=False)

    def has(self, owner: str) -> bool:
        with self._lock:
            said = self._owners.get(owner)
        return said is not None and all(said.values())
