"""The rate of a fetch: a mean of the bytes that came, and none before it tells anything."""

from __future__ import annotations

from gac_app.models.sources.base import Meter, Progress
from tests.clocks import HandClock


def test_the_rate_is_of_new_bytes() -> None:
    clock, seen = HandClock(), list[Progress]()
    clock.now = 100.0
    meter = Meter(seen.append, clock)
    meter(Progress(5_000, 20_000))  # kept of an earlier try
    clock.now += 0.3
    meter(Progress(5_300, 20_000))
    assert [progress.bytes_per_s for progress in seen] == [None, None], "too early to say"
    assert seen[-1].left_s is None
    clock.now += 1.7
    meter(Progress(7_000, 20_000))
    assert (seen[-1].bytes_per_s, seen[-1].left_s, seen[-1].share) == (1_000, 13, 0.35)
    clock.now += 2
    meter(Progress(7_000, None))
    assert (seen[-1].bytes_per_s, seen[-1].left_s, seen[-1].share) == (500, None, None)


def test_progress_neither_goes_back_nor_beyond_its_total() -> None:
    seen = list[Progress]()
    meter = Meter(seen.append, lambda: 0.0)
    for num_bytes, total_bytes in ((10, 100), (9, 100), (120, 110)):
        meter(Progress(num_bytes, total_bytes))
    assert [(progress.num_bytes, progress.total_bytes) for progress in seen] == [(10, 100), (10, 100), (120, 120)]
