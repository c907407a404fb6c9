"""What starting costs: the time from the start of `serve` to the page and to the first possible run, with files in the
cache; and the peak memory of a process that loads the members and answers.

The least memory is the members' files plus keys and values of all sequences with full contexts, in half precision.
llama.cpp allocates these at the start; with onnxruntime they grow, in single precision.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from gac_app.bench.rows import Row, Target
from gac_app.bench.workbench import PROMPTS, Workbench, decode, print_found
from gac_app.errors import GacError
from gac_app.member_config import MemberConfig

START_TIMEOUT_S = 300.0
_POLL_S = 0.1  # each poll slows down the server's start
_STOP_TIMEOUT_S = 15.0
_MIB = 1 << 20
_VALUE_BYTES = 2


def measure(bench: Workbench) -> list[Row]:
    for member in bench.config.loaded:
        if not member.is_random:
            bench.files(member)  # fetched before the measurement
    starts = [_start(bench.path) for _ in range(1 if bench.is_quick else 3)]
    return [
        Row.of("process start to page", [page for page, _ in starts], "s", Target("<=", 5.0)),
        Row.of("process start to ready", [ready for _, ready in starts], "s", Target("<=", 10.0)),
        _memory_row(bench),
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


def _memory_row(bench: Workbench) -> Row:
    name = "peak memory ÷ (model files + KV)"
    if importlib.util.find_spec("resource") is None:
        return Row(name, None, note="not measured: this system does not tell a process its peak of memory")
    members = bench.config.loaded
    if any(member.is_random or bench.files(member).kind != "gguf" for member in members):
        return Row(name, None, note="not measured: counts the memory of members from GGUF files")
    files_bytes = sum(bench.files(member).path.stat().st_size for member in members)
    kv_bytes = sum(cache_bytes(bench.files(member).path, member) for member in members)
    held_bytes: int = bench.in_child(__name__)
    note = f"MiB: peak {held_bytes / _MIB:,.0f}, files {files_bytes / _MIB:,.0f}, KV {kv_bytes / _MIB:,.0f}"
    return Row(name, held_bytes / (files_bytes + kv_bytes), target=Target("<=", 2.0), note=note)


def cache_bytes(path: Path, member: MemberConfig) -> int:
    """Bytes of keys and values for all sequences of the configuration, from the shape in the file."""
    from gac_app.models.gguf import read_gguf
    from gac_app.models.llama_cpp.gguf_model import DEFAULT_CONTEXT_LENGTH

    reader = read_gguf(path)
    family = reader.get_field("general.architecture").contents()

    def stated(key: str, default: int = 0) -> int:
        field = reader.get_field(f"{family}.{key}")
        return int(field.contents()) if field else default

    num_heads = stated("attention.head_count")
    default_width = stated("embedding_length") // num_heads
    widths = [stated(f"attention.{kind}_length", default_width) for kind in ("key", "value")]
    num_kv_heads = stated("attention.head_count_kv", num_heads)
    cell_bytes = stated("block_count") * num_kv_heads * sum(widths) * _VALUE_BYTES
    length = min(member.context_length or DEFAULT_CONTEXT_LENGTH, stated("context_length"))
    return cell_bytes * length * member.max_sequences


def peak_bytes() -> int:
    """This process's peak of main memory."""
    import resource  # missing on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_of_an_answer(bench: Workbench) -> int:
    decode(bench.ensemble.session(PROMPTS[0], bench.settings()))
    return peak_bytes()


if __name__ == "__main__":
    print_found(_peak_of_an_answer, *sys.argv[1:])
