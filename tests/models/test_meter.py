"""The rate of a fetch: a mean of the last seconds, and silence where there is none."""

from __future__ import annotations

import pytest

from gac_app.models.sources.base import Progress
from gac_app.models.sources.meter import WINDOW_S, Meter


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_rate_is_of_new_bytes_and_none_when_stalled() -> None:
    clock, seen = Clock(), list[Progress]()
    meter = Meter(seen.append, clock)
    meter(Progress(5_000, 20_000))  # kept of an earlier try
    clock.now_s += 0.3
    meter(Progress(5_300, 20_000))
    assert [progress.bytes_per_s for progress in seen] == [None, None], "too early to say"
    assert seen[-1].left_s is None
    clock.now_s += 1.7
    meter(Progress(7_000, 20_000))
    assert (seen[-1].bytes_per_s, seen[-1].left_s, seen[-1].share) == (1_000, 13, 0.35)
    clock.now_s += WINDOW_S
    meter(Progress(7_000, 20_000))
    assert (seen[-1].bytes_per_s, seen[-1].left_s) == (None, None)


def test_the_rate_follows_the_last_seconds() -> None:
    clock, seen = Clock(), list[Progress]()
    meter = Meter(seen.append, clock)
    for second in range(60):
        clock.now_s += 1
        meter(Progress(second * 100 if second < 30 else 3_000 + (second - 30) * 500, None))
    assert seen[25].bytes_per_s == pytest.approx(100)
    assert 100 < (seen[35].bytes_per_s or 0) < 500, "smoothed"
    assert seen[-1].bytes_per_s == pytest.approx(500)
    assert (seen[-1].left_s, seen[-1].share) == (None, None)


def test_progress_neither_goes_back_nor_beyond_its_total() -> None:
    seen = list[Progress]()
    meter = Meter(seen.append, Clock())
    for num_bytes, total_bytes in ((10, 100), (9, 100), (120, 110)):
        meter(Progress(num_bytes, total_bytes))
    assert [(progress.num_bytes, progress.total_bytes) for progress in seen] == [(10, 100), (10, 100), (120, 120)]
