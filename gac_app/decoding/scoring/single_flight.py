"""A cache of recent reads of texts. Scoring one again with other weights, thresholds or gates needs no forward pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

_MAX_KEPT_BYTES = 500_000  # of text; each takes about a hundred bytes of memory
_OWN_BYTES = 20  # that an entry without text counts


class SingleFlightCache:
    """What was read of recent texts, or is being read, with the seconds that it took."""

    def __init__(self) -> None:
        self._reads: dict[Hashable, tuple[Future[tuple[Any, float]], int]] = {}  # and bytes, oldest first
        self._num_bytes = 0
        self._lock = threading.Lock()

    def get_or_compute(self, key: Hashable, num_bytes: int, read: Callable[[], Any]) -> tuple[Any, float]:
        """The result of `read`, or the cached one for this key, and the seconds it took.

        A caller that asks while another thread reads the same waits for that read, and shares its failure.
        """
        with self._lock:
            if known := self._reads.get(key):
                future, is_known = known[0], True
            else:
                future, is_known = Future[tuple[Any, float]](), False
                self._reads[key] = future, num_bytes + _OWN_BYTES
                self._num_bytes += num_bytes + _OWN_BYTES
                while self._num_bytes > _MAX_KEPT_BYTES and len(self._reads) > 1:
                    self._drop(next(iter(self._reads)))
        if not is_known:
            started = time.monotonic()
            try:
                future.set_result((read(), time.monotonic() - started))
            except BaseException as error:
                with self._lock:
                    if self._reads.get(key, (None,))[0] is future:
                        self._drop(key)
                future.set_exception(error)
        return future.result()

    def _drop(self, key: Hashable) -> None:
        self._num_bytes -= self._reads.pop(key)[1]
