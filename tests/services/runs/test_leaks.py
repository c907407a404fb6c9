"""A run leaves nothing behind in the process but its row."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from pathlib import Path

from gac_app.services.runs.runs import RunService
from tests.services.house import answer

NUM_RUNS, MOST_BYTES = 15, 250_000  # of a run; runs that ended a moment ago are still held


def test_runs_leave_no_memory_threads_or_handles(service: RunService) -> None:
    def used() -> tuple[int, int, int]:
        gc.collect()
        handles = len([*Path("/proc/self/fd").iterdir()]) if Path("/proc/self/fd").exists() else 0
        return tracemalloc.get_traced_memory()[0], threading.active_count(), handles

    def run(num: int) -> None:
        for number in range(num):
            answer(service, f"{number}")

    run(NUM_RUNS)
    tracemalloc.start()
    try:
        before = used()
        run(NUM_RUNS)
        after = used()
    finally:
        tracemalloc.stop()
    assert after[0] - before[0] < NUM_RUNS * MOST_BYTES
    # A pool may open another connection meanwhile.
    assert all(left < there + NUM_RUNS // 2 for left, there in zip(after[1:], before[1:], strict=True)), (before, after)
