"""No text of a visitor's in the log, and no line over and over again."""

from __future__ import annotations

import logging

import pytest

from gac_app.server import quiet_log
from gac_app.server.quiet_log import PER_MINUTE, QuietLog, log_without_text

SECRET = "a secret prompt"


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.addFilter(QuietLog())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def kept() -> Kept:
    return Kept()


def logger_with(kept: Kept, name: str) -> logging.Logger:
    logger = logging.Logger(name)
    logger.addHandler(kept)
    return logger


def test_a_foreign_exception_keeps_kind_and_place_only(kept: Kept) -> None:
    logger = logger_with(kept, "uvicorn.error")
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.exception("Exception in ASGI application\n")
    [line] = kept.lines
    assert line.startswith("Exception in ASGI application: ValueError at test_quiet_log.py:")
    assert SECRET not in line


def test_asyncio_shows_no_exception_of_a_task(kept: Kept) -> None:
    logger_with(kept, "asyncio").error("Task exception was never retrieved\nfuture: <Task %s>", SECRET)
    assert kept.lines == ["Task exception was never retrieved"]


def test_our_own_words_stay(kept: Kept) -> None:
    logger = logger_with(kept, "gac_app.storage.database.writer")
    try:
        raise OSError("no space left on device")
    except OSError:
        logger.exception("cannot write")
    assert "no space left" in kept.lines[0]


def test_what_is_alike_is_logged_rarely_and_counted(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(quiet_log.time, "monotonic", lambda: now)
    logger = logger_with(kept, "uvicorn.error")
    for number in range(100):
        logger.warning("Invalid HTTP request received.")
        logger.info("told every time %d", number)
    assert kept.lines.count("Invalid HTTP request received.") == PER_MINUTE
    assert len(kept.lines) == PER_MINUTE + 100
    logger.warning("another")
    assert kept.lines[-1] == "another"
    now += 61
    logger.warning("Invalid HTTP request received.")
    assert kept.lines[-1] == "Invalid HTTP request received. [and 95 more like it]"


def test_what_broke_in_an_event_is_told_by_its_place(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise KeyError(SECRET)
    except KeyError:
        log_without_text()
    assert "KeyError at test_quiet_log.py:" in caplog.text
    assert SECRET not in caplog.text
