"""What starting costs: the time from the start of `serve` to the page and to the first possible run, with files in the
cache; and the peak memory of a process that loads the members and answers, beside the members' files plus keys and
values of all sequences with full contexts, which grow as they are used.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from gac_app.bench.harness import PROMPTS, Harness, decode, print_found
from gac_app.bench.rows import Row, Target
from gac_app.errors import GacError

if TYPE_CHECKING:  # it loads torch
    from gac_app.models.base import Model

START_TIMEOUT_S = 300.0
_POLL_S = 0.1  # each poll slows down the server's start
_STOP_TIMEOUT_S = 15.0
_MIB = 1 << 20


def measure(harness: Harness) -> list[Row]:
    for member in harness.config.loaded:
        if not member.is_random:
            harness.files(member)  # fetched before the measurement
    starts = [_start(harness.path) for _ in range(1 if harness.is_quick else 3)]
    return [
        Row.of("process start to page", [page for page, _ in starts], "s", Target("<=", 5.0)),
        Row.of("process start to ready", [ready for _, ready in starts], "s", Target("<=", 10.0)),
        _memory_row(harness),
    ]


def _start(config: Path) -> tuple[float, float]:
    """Seconds until the application, in its own process and with a database of its own, has a page; and is ready."""
    started, port = time.monotonic(), free_port()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "GAC_DATABASE_URL": f"sqlite:///{Path(folder) / 'bench.sqlite3'}"}
        command = ["-m", "gac_app", "serve", "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        with child_server(command, environment) as server:
            page_s, ready_s = (
                wait_for(server, f"http://127.0.0.1:{port}{path}") - started for path in ("/", "/readyz")
            )
            return page_s, ready_s


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


def wait_for(server: subprocess.Popen[bytes], url: str) -> float:
    """Wait until `url` answers 200; the monotonic time then. Raises GacError if the server ends, or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise GacError(f"the server ended with status {server.returncode} before it answered")
        with suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).is_success:
                return time.monotonic()
        time.sleep(_POLL_S)
    raise GacError(f"the server did not answer within {START_TIMEOUT_S:.0f} s")


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _memory_row(harness: Harness) -> Row:
    name = "peak memory ÷ (model files + KV)"
    if importlib.util.find_spec("resource") is None:
        return Row(name, None, note="not measured: this system does not tell a process its peak of memory")
    peak, kv = harness.in_child(__name__)
    files = sum(harness.files(member).path.stat().st_size for member in harness.config.loaded if not member.is_random)
    if not kv:
        return Row(name, None, note="not measured: a member does not tell the size of its cache")
    note = f"MiB: peak {peak / _MIB:,.0f}, files {files / _MIB:,.0f}, KV {kv / _MIB:,.0f}"
    return Row(name, peak / (files + kv), target=Target("<=", 2.0), note=note)


def cache_bytes(models: Sequence[Model]) -> int:
    """Keys and values of all sequences with full contexts; 0 = unknown."""
    sizes = [model.bytes_per_id * model.context_length * model.max_sequences for model in models]
    return sum(sizes) if all(sizes) else 0


def _peak_and_cache_bytes(harness: Harness) -> tuple[int, int]:
    """Of a process that has given one answer."""
    import resource  # missing on Windows

    decode(harness.ensemble.session(PROMPTS[0], harness.settings(harness.config)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    models = [harness.ensemble.members[member.name].model for member in harness.config.loaded]
    return peak if sys.platform == "darwin" else peak * 1024, cache_bytes(models)


if __name__ == "__main__":
    print_found(_peak_and_cache_bytes, *sys.argv[1:])
