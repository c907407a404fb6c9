"""The members' states on the console: every change of phase, and a line every few seconds of a download."""

from __future__ import annotations

import logging

import pytest

from gac_app.server import logs
from gac_app.services.members import Members, MemberState
from tests.fakes import config_of


def test_a_download_is_neither_silent_nor_a_flood(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    log = logs.StateLog()
    with caplog.at_level(logging.INFO, "gac_app"):
        log.log(MemberState("a"))
        for tick in range(60):  # half a minute
            now = 100 + tick / 2
            log.log(MemberState("a", "fetching", progress=tick / 100, bytes_per_s=2e6, notice="terms"))
        log.log(MemberState("a", "loading"))
        log.log(MemberState("a", "loading"))
        log.log(MemberState("a", "failed", detail="no memory"))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:3] == ["a: waiting", "a: fetching 0 % · 2.0 MB/s (terms)", "a: fetching 10 % · 2.0 MB/s"]
    assert lines[-2:] == ["a: loading", "a: failed: no memory"]
    assert len(lines) == 1 + 6 + 2
    assert caplog.records[-1].levelname == "ERROR"


def test_every_change_of_phase_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gac_app"):
        members = Members(config_of(["a", "b"]), logs.StateLog().log)
        members.set("a", "loading")
        members.set("b", "loading")
        members.set("a", "ready")
        members.set_failed("no memory")
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "a: waiting",
        "b: waiting",
        "a: loading",
        "b: loading",
        "a: ready",
        "a: failed: no memory",
        "b: failed: no memory",
    ]
