"""When a run ends because nobody follows it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gac_app.services.runs import audience as audience_module
from gac_app.services.runs.audience import Audience
from gac_app.services.runs.live_run import LiveRun


def run_of() -> LiveRun:
    fields = {"num_followers": 0, "num_departures": 0, "is_seen": False, "over": threading.Event()}
    return cast("LiveRun", SimpleNamespace(**fields))


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, Callable[[], None]]]:
    """What is to be done later: after how many seconds, and what."""
    found: list[tuple[float, Callable[[], None]]] = []

    def timer(seconds: float, then: Callable[..., None], args: tuple[Any, ...]) -> Any:
        return SimpleNamespace(start=lambda: found.append((seconds, lambda: then(*args))))

    monkeypatch.setattr(audience_module, "threading", SimpleNamespace(Timer=timer, Lock=threading.Lock))
    return found


def test_a_run_that_no_page_showed_ends_with_its_last_follower(timers: list[Any]) -> None:
    stopped: list[LiveRun] = []
    audience, run = Audience(stopped.append), run_of()
    with audience.following(run):
        with audience.following(run):
            assert run.num_followers == 2
        assert stopped == []
    assert (stopped, timers, run.num_followers) == ([run], [], 0)


def test_a_run_that_was_shown_goes_on_for_a_while(timers: list[Any]) -> None:
    stopped: list[LiveRun] = []
    audience, run = Audience(stopped.append, unseen_s=7.0), run_of()
    with audience.following(run):
        audience.note_seen(run)
    [(seconds, end)] = timers
    assert (seconds, stopped) == (7.0, [])
    with audience.following(run):
        end()
        assert stopped == [], "a page is back"
    end()
    assert stopped == [], "it came back since, and left"
    timers[1][1]()
    assert stopped == [run]


def test_a_run_that_is_over_is_left_alone(timers: list[Any]) -> None:
    stopped: list[LiveRun] = []
    audience, run = Audience(stopped.append), run_of()
    with audience.following(run):
        run.over.set()
    assert (stopped, timers) == ([], [])
