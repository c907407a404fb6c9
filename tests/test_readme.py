"""What README and docs say of files, commands and variables is so; Hugging Face Spaces can read the front matter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import gac_app
from gac_app.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
_, _FRONT, TEXT = README.split("---\n", 2)
SPACE: dict[str, Any] = yaml.safe_load(_FRONT)
USAGE = (ROOT / "docs" / "usage.md").read_text(encoding="utf-8")
PYTHON = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def test_a_space_can_be_made_of_it() -> None:
    assert SPACE["sdk"] == "gradio"
    assert (ROOT / SPACE["app_file"]).is_file()
    assert len(SPACE["short_description"]) <= 60
    assert f"gradio=={SPACE['sdk_version']}\n" in (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert isinstance(SPACE["python_version"], str), "3.10 would be read as 3.1"


@pytest.mark.parametrize("command", sorted(typer.main.get_command(app).commands))  # type: ignore[attr-defined]
def test_every_command_is_told(command: str) -> None:
    assert re.search(rf"`(python -m gac_app )?{command}\b", USAGE)


def test_every_variable_is_told() -> None:
    code = (ROOT / "gac_app" / "environment.py").read_text(encoding="utf-8")
    variables = set(re.findall(r"\"(GAC_\w+)\"", code))
    assert len(variables) >= 6
    assert variables <= set(re.findall(r"GAC_\w+", CONFIGURATION))


def test_every_preset_is_told() -> None:
    told = set(re.findall(r"^\| `(configs/[\w.-]+)` \|", CONFIGURATION, re.MULTILINE))
    assert told == {f"configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")}


def test_the_guide_names_every_public_name() -> None:
    assert [name for name in gac_app.__all__ if f"`{name}" not in PYTHON] == []
