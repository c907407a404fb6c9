"""The scheduler's clock, which stands still until a test or a planned pass moves it."""

from __future__ import annotations

import pytest

from gac_app.executors import batch_computer, batch_scheduler, fair_queue


class Clock:
    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def passes(self, num_ids: int) -> None:
        """A pass takes as long as it has ids."""
        self.now_s += num_ids / 100


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (batch_computer, batch_scheduler, fair_queue):
        monkeypatch.setattr(module, "time", clock)
    return clock
