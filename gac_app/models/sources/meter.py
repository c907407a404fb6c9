"""The rate of a fetch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from gac_app.models.sources.base import Progress, ProgressCallback

WINDOW_S = 10.0  # the rate is a mean over this time
MIN_S = 1.0  # before that it would be noise


class Meter:
    """Adds the rate to progress reports. Bytes before the first report do not count."""

    def __init__(self, report: ProgressCallback, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._num_bytes = 0
        self._seen: deque[tuple[float, int]] = deque()  # when, bytes

    def __call__(self, progress: Progress) -> None:
        # A wheel is a little larger than its file, but progress must not go back when it is unzipped.
        num_bytes = self._num_bytes = max(self._num_bytes, progress.num_bytes)
        total_bytes = progress.total_bytes and max(progress.total_bytes, num_bytes)
        self._report(Progress(num_bytes, total_bytes, self._rate()))

    def _rate(self) -> float | None:
        now = self._clock()
        self._seen.append((now, self._num_bytes))
        while now - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        seconds, fetched = now - self._seen[0][0], self._num_bytes - self._seen[0][1]
        return fetched / seconds if seconds >= MIN_S and fetched > 0 else None
