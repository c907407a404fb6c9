"""`python -m gac_app eval --suite alignment`: what it prints and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gac_app.cli import app
from gac_app.errors import RequestError

CONFIG = """
members:
  - {name: a, source: "random:0"}
  - {name: b, source: "random:1"}
"""
SHORT = ("--suite", "alignment", "--only", "yaml", "--max-new-tokens", "2", "--systems", "alone:a,every-step+prefix")


def call(folder: Path, *arguments: str) -> Result:
    config = folder / "two.yaml"
    config.write_text(CONFIG)
    environment = {"GAC_CACHE": str(folder / "cache")}
    return CliRunner().invoke(app, ["eval", "--config", str(config), *arguments], env=environment)


@pytest.mark.slow
def test_json_on_stdout_and_progress_on_stderr(tmp_path: Path) -> None:
    result = call(tmp_path, *SHORT, "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["suite"], report["max_new_tokens"]) == ("alignment", 2)
    assert list(report["systems"]) == ["alone:a", "every-step+prefix"]
    assert len(report["systems"]["alone:a"]["yaml"]["answers"]) == 6
    assert "alignment: 12 of 12 texts" in result.stderr


def test_tables_without_json(tmp_path: Path) -> None:
    result = call(tmp_path, *SHORT)
    assert result.exit_code == 0
    assert "code whose complete lines parse" in result.stdout
    assert "every-step+prefix" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("--suite", "alignment", "--only", "klingon"), "only"),
        (("--suite", "alignment", "--systems", "nobody"), "systems"),
        (("--suite", "alignment", "--task", "piqa"), "task"),
        (("--suite", "alignment", "--fresh"), "fresh"),
        ((), "task"),
        (("--only", "french", "--task", "piqa"), "only"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_loaded(
    tmp_path: Path, arguments: tuple[str, ...], field: str
) -> None:
    error = call(tmp_path, *arguments).exception
    assert isinstance(error, RequestError)
    assert error.field == field
