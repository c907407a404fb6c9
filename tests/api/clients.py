"""Which clients work with a server of this checkout: `python -m tests.api.clients [--config FILE] [NAME ...]`.

Starts the real server, over random members unless a configuration is given, makes an environment of its own for the
clients (`--environment`, kept for the next time), and runs `client_programs` in it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.server.site import ROOT, free_port, wait_until_up

PACKAGES = ["openai", "litellm", "llm", "langchain-openai", "aiohttp", "lm_eval[api]"]
PACKAGES += ["schemathesis>=4"]
NAMES = ["openai", "structured", "litellm", "llm", "langchain", "open_webui", "lm_eval"]
NAMES += ["schemathesis"]
PROGRAMS = Path(__file__).with_name("client_programs.py")
CONFIG = """
members:
  - {name: a, source: "random:1"}
  - {name: b, source: "random:2"}
"""


def environment(folder: Path) -> Path:
    """The Python of an environment that has the clients."""
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (folder / "made").touch()
    return python


@contextmanager
def server(config: Path | None = None) -> Iterator[tuple[str, int]]:
    """The address and the id of a server's process, whose members are loaded."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        (folder / "config.yaml").write_text(CONFIG)
        command = [sys.executable, "-m", "gac_app", "serve", "--config", str(config or folder / "config.yaml")]
        settings = os.environ | {"GAC_DATABASE_URL": f"sqlite:///{folder / 'runs'}"}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, env=settings, stderr=log, stdout=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                wait_until_up(client, folder / "log")
                until = time.monotonic() + 180
                while client.get("/readyz").status_code != 200:
                    assert time.monotonic() < until, (folder / "log").read_text("utf-8", "replace")
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            process.wait(30)


def works(python: Path, name: str, url: str, model: str) -> bool:
    """Whether a client gets what its users expect; prints what it got."""
    print(f"{name}:", flush=True)
    ran = subprocess.run([python, PROGRAMS, name, url, model], cwd=tempfile.gettempdir(), timeout=600)
    print(f"  {'works' if ran.returncode == 0 else 'FAILS'}", flush=True)
    return ran.returncode == 0


def main(arguments: Sequence[str]) -> int:
    """Exit status: the number of clients that fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="clients; all of them if none is named")
    parser.add_argument("--config", type=Path, help="such as configs/default.yaml")
    parser.add_argument("--model", default="gac")
    parser.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir()) / "gac-clients")
    given = parser.parse_args(arguments)
    python = environment(given.environment)
    with server(given.config) as (url, _):
        return sum(not works(python, name, url, given.model) for name in given.names or NAMES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
