"""The streaming page, and the server that speaks at a steady pace."""

from __future__ import annotations

import builtins
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gac_app.bench import page
from gac_app.bench.rows import NotMeasured, Row
from gac_app.bench.steady_ensemble import END_MARK, TOKENS_PER_S, SteadySession
from gac_app.bench.workbench import Workbench
from gac_app.decoding.trace.events import FinishedEvent, FinishReason, TokenEvent
from tests.fakes import config_of


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    return Workbench(tmp_path / "none.yaml", config_of(["a"]), is_quick=True)


def measured(bench: Workbench) -> list[Row]:
    """In a thread of its own: other browser tests leave an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(page.measure, bench).result()


def test_a_steady_session_keeps_its_pace() -> None:
    started = time.monotonic()
    *tokens, end = SteadySession(13).events()
    assert time.monotonic() - started >= 12 / TOKENS_PER_S
    assert isinstance(end, FinishedEvent)
    assert end.text == "".join(token.text for token in tokens if isinstance(token, TokenEvent))
    last = end.text[end.text.index(END_MARK) :]
    assert -0.01 < time.time() - float(last.removeprefix(END_MARK)) / 1000 < 5  # the mark is rounded


def test_a_steady_session_can_be_stopped() -> None:
    session = SteadySession(1000)
    events = session.events()
    next(events)
    session.stop()
    assert [event.reason for event in events if isinstance(event, FinishedEvent)] == [FinishReason.ABORT]


@pytest.mark.process
def test_without_a_browser_it_says_how_to_get_one(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAC_BROWSER", "/nowhere/chromium")
    with pytest.raises(NotMeasured, match="playwright install chromium"):
        measured(bench)


def test_without_playwright_too(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def import_all_but_playwright(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("playwright"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", import_all_but_playwright)
    with pytest.raises(NotMeasured, match="pip install playwright"):
        measured(bench)


@pytest.mark.process
@pytest.mark.browser
def test_the_lag_of_a_real_page(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "NUM_TOKENS_QUICK", 40)
    (row,) = measured(bench)
    assert row.value is not None
    assert -0.1 < row.value < 10
    assert row.note.startswith("5 streams of 40 tokens")
