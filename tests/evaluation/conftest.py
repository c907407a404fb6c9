"""What tests of the evaluation's commands share: two random members, a few questions, and a call in this process."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gac_app.cli import app


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
    asked = [{"question": f"The colour of {thing} is"} for thing in things]
    choices = [{**q, "choices": ["blue", "white", "black"], "answer": n % 3} for n, q in enumerate(asked)]
    answers = [{**q, "answers": [f"{thing} blue", "white"]} for q, thing in zip(asked, things, strict=True)]
    for name, questions in {"choices": choices, "answers": answers}.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    return tmp_path


def call(folder: Path, command: str, *arguments: str, task: str = "arc_challenge", data: str = "choices") -> Result:
    """The command in this process, which has the libraries loaded; errors are left as they are raised."""
    files = ("--config", str(folder / "two.yaml"), "--data", str(folder / f"{data}.jsonl"), "--task", task)
    return CliRunner().invoke(app, [command, *files, *arguments], env={"GAC_CACHE": str(folder / "cache")})
