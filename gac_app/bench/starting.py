"""Start of `serve`: time from the process's start to the page and to the first possible run, with files in the
cache.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from gac_app.bench.rows import Row, Target
from gac_app.bench.workbench import Workbench
from gac_app.errors import GacError

START_TIMEOUT_S = 300.0
_POLL_S = 0.1  # each poll slows down the server's start
_STOP_TIMEOUT_S = 15.0


def measure(bench: Workbench) -> list[Row]:
    for member in bench.config.members:
        if not member.is_random:
            bench.files(member)  # fetched before the measurement
    starts = [_start(bench.path) for _ in range(1 if bench.is_quick else 3)]
    return [
        Row("process start to page", median(page for page, _ in starts), "s", Target("<=", 5.0)),
        Row("process start to ready", median(ready for _, ready in starts), "s", Target("<=", 10.0)),
    ]


def _start(config: Path) -> tuple[float, float]:
    """Seconds to the page, and to readiness."""
    port = free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "GAC_DATABASE_URL": f"sqlite:///{Path(folder) / 'bench.sqlite3'}"}
        started = time.monotonic()
        command = ["-m", "gac_app", "serve", "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        with child_server(command, environment) as server:
            wait_for(server, f"http://127.0.0.1:{port}/")
            page_s = time.monotonic() - started
            wait_for(server, f"http://127.0.0.1:{port}/readyz")
            return page_s, time.monotonic() - started


@contextmanager
def child_server(arguments: list[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A server in its own process, which ends with the block."""
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=quiet, stderr=quiet)
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(server: subprocess.Popen[bytes], url: str) -> None:
    """Wait until `url` answers 200. Raises GacError if the server ends before, or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise GacError(f"the server ended with status {server.returncode} before it answered")
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 (an address on this machine)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL_S)
    raise GacError(f"the server did not answer within {START_TIMEOUT_S:.0f} s")


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
