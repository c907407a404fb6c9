"""What tests of the evaluation's commands share: two random members, a few questions, and a call in this process."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gac_app.cli import app

ROOT = Path(__file__).parents[2]
_KILLED = """
import os, signal, sys
from gac_app import cli
from gac_app.evaluation.running import ResultCache

num_kept, add = 0, ResultCache.add

def add_or_die(cache, answer):
    global num_kept
    if num_kept == {num}:
        os.kill(os.getpid(), signal.SIGKILL)
    add(cache, answer)
    num_kept += 1

ResultCache.add = add_or_die
cli.main()
"""


@pytest.fixture(autouse=True)
def _same_log_level() -> Iterator[None]:
    logger = logging.getLogger("gac_app")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds `two.yaml`, `choices.jsonl` and `answers.jsonl`."""
    members = "\n".join(f"  - {{name: {name}, source: 'random:{seed}'}}" for seed, name in enumerate("ab"))
    (tmp_path / "two.yaml").write_text(f"members:\n{members}\n", encoding="utf-8")
    things = ["sky", "sea", "snow", "grass", "coal", "milk"]
    kinds: dict[str, list[dict[str, Any]]] = {
        "choices": [{"choices": ["blue", "white", "black"], "answer": n % 3} for n in range(len(things))],
        "answers": [{"answers": [thing, f"{thing}s"]} for thing in things],
    }
    for kind, given in kinds.items():
        asked = [{"question": f"The colour of {thing} is", **rest} for thing, rest in zip(things, given, strict=True)]
        (tmp_path / f"{kind}.jsonl").write_text("\n".join(json.dumps(question) for question in asked), encoding="utf-8")
    return tmp_path


def call(folder: Path, command: str, *arguments: str, task: str = "arc_challenge", data: str = "choices") -> Result:
    """The command in this process, which has the libraries loaded; errors are left as they are raised."""
    files = ("--config", str(folder / "two.yaml"), "--data", str(folder / f"{data}.jsonl"), "--task", task)
    return CliRunner().invoke(app, [command, *files, *arguments], env={"GAC_CACHE": str(folder / "cache")})


def killed_with(num_answers: int, folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own, which is killed as it would keep one answer more than so many."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GAC_")}
    environment["GAC_CACHE"] = str(folder / "cache")
    command = [sys.executable, "-c", _KILLED.format(num=num_answers), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
