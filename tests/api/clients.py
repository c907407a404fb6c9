"""Which clients work with a server of this checkout: `python -m tests.api.clients [--config FILE] [NAME ...]`.

Starts the real server, over random members unless a configuration is given, makes an environment of its own for the
clients (`--environment`, kept for the next time), and runs `client_programs` in it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from tests.server.site import serving

PACKAGES = ["litellm", "llm", "langchain-openai", "aiohttp", "schemathesis>=4"]
NAMES = ["litellm", "llm", "langchain", "open_webui", "schemathesis"]
PROGRAMS = Path(__file__).with_name("client_programs.py")
CONFIG = "members: [{name: a, source: 'random:1'}, {name: b, source: 'random:2'}]"


def environment(folder: Path) -> Path:
    """The Python of an environment that has the clients."""
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (folder / "made").touch()
    return python


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
    with tempfile.TemporaryDirectory() as name:
        config = given.config.read_text("utf-8") if given.config else CONFIG
        with serving(Path(name), config) as (_, url):
            return sum(not works(python, one, url, given.model) for one in given.names or NAMES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
