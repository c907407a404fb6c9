"""Clocks: one that a test sets, and one for waits that end because somebody is late."""

from __future__ import annotations

import time

import pytest

MOMENT_S = 0.1  # a wait looks at the clock as often
HANG_S = 0.3  # `step_timeout_s` of a step that will hang; healthy members need far less


class HandClock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class SteadyClock:
    """Takes the place of `time` where members are waited for: between two looks at it no more than a moment passes,
    so that a machine that stalls does not make a healthy member late.
    """

    def __init__(self) -> None:
        self._seen_s = self._now_s = time.monotonic()

    def monotonic(self) -> float:
        seen_s = time.monotonic()
        self._now_s += min(seen_s - self._seen_s, MOMENT_S)
        self._seen_s = seen_s
        return self._now_s


def show_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show battles as soon as they are there, not as fast as people read."""
    monkeypatch.setattr("gac_app.arena.pacing.Tempo.rate", 1e6)
    monkeypatch.setattr("gac_app.arena.pacing.LEAD_S", 0.0)
    monkeypatch.setattr("gac_app.arena.pacing.PAUSE_S", 0.0)


@pytest.fixture
def steady_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gac_app.decoding.contexts.gathering.time", SteadyClock())


@pytest.fixture(autouse=True)
def battles_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is imported, battles show answers as soon as they are there, not as fast as people read."""
    show_at_once(monkeypatch)
