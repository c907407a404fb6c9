"""A study is a class: its command, its options and its place in the list are made of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gac_app import cli
from gac_app.evaluation import studies
from gac_app.evaluation.studies.result import StudyResult, Table, explained
from gac_app.evaluation.studies.study import studies as found_studies
from tests.evaluation.conftest import call

DOCS = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The study of the docs, as a file of the package."""
    [code] = re.findall(r"```\n(\"\"\"How long.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "lengths.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(studies, "__path__", [*studies.__path__, str(tmp_path)])
    found_studies.cache_clear()
    yield
    found_studies.cache_clear()
    sys.modules.pop("gac_app.evaluation.studies.lengths", None)


def test_names_in_a_result_are_explained_and_no_others() -> None:
    columns = [
        "system",
        "accuracy (95 %)",
        "vs gate@0.5",
        "ECE by chance",
        "Small, nats",
        "tokens per word, after a space",
    ]
    table = Table(columns, [["alone:Small", *"12345"], ["vote+samples=4", *"12345"]])
    found = explained(StudyResult("eval", "nq: 2 questions", [table, Table(["temperature of all"], [["1"]])], {}))
    assert list(found) == [
        "vote", "accuracy", "vs ", "ECE by chance", "temperature", "nats", "after a space",
        "tokens per word",
    ]  # fmt: skip
    assert found["nats"].startswith("mean negative log-probability")


def test_a_new_file_is_a_new_command(lengths: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_studies()[-1].name == "lengths"
    app = cli.typer.Typer()
    for name, command in cli.study_commands().items():
        app.command(name)(command)
    monkeypatch.setattr("tests.evaluation.conftest.app", app)
    done = call(folder, "lengths", "--limit", "2", "--systems", "alone:a,every-step", task="nq", data="answers")
    assert done.exit_code == 0, done.exception
    assert "alone:a" in done.stdout
    assert "nq: 2 questions" in done.stdout
    assert "Compare the lengths of answers." in CliRunner().invoke(app, ["lengths", "--help"]).stdout


def test_two_flags_of_one_command_exclude_each_other(folder: Path) -> None:
    done = call(folder, "sweep", "--weights", "--members")
    assert str(done.exception) == "members: goes without --weights"
