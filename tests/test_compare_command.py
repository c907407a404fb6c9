"""`compare`: every prompt of a file by everyone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gac_app.cli import app
from gac_app.errors import GacError, RequestError

CONFIG = (
    "members:\n  - {name: a, source: 'random:1'}\n  - {name: b, source: 'random:2'}\nsettings: {max_new_tokens: 6}\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "two.yaml").write_text(CONFIG)
    (tmp_path / "prompts.csv").write_text("prompt,id\nOne?,1\nTwo?,2\n")
    return tmp_path


def call(folder: Path, file: str, *options: str, stdin: str = "") -> Result:
    arguments = ["compare", file, "--config", str(folder / "two.yaml"), *options]
    return CliRunner().invoke(app, arguments, input=stdin, env={"GAC_CACHE": str(folder / "cache")})


def test_a_table_or_a_line_a_prompt(folder: Path) -> None:
    done = call(folder, str(folder / "prompts.csv"), "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["prompt"] for line in lines] == ["One?", "Two?"]
    assert list(lines[0]["answers"]) == ["Ensemble", "a", "b"]
    assert all(answer["text"] and not answer["error"] for line in lines for answer in line["answers"].values())
    assert "2 of 2 prompts" in done.stderr
    printed = call(folder, "-", stdin="One?\nTwo?")
    assert printed.exit_code == 0
    assert "Two?" in printed.stdout
    assert "Ensemble" in printed.stdout


def test_a_prompt_that_does_not_fit_fails_the_command(folder: Path) -> None:
    done = call(folder, "-", "--json", stdin=f"{'word ' * 30_000}\nTwo?")
    first, second = [json.loads(line)["answers"]["Ensemble"] for line in done.stdout.splitlines()]
    assert first["error"]
    assert second["text"]
    assert isinstance(done.exception, GacError)


def test_a_file_that_is_none_is_bad_input(folder: Path) -> None:
    assert isinstance(call(folder, str(folder / "none.csv")).exception, RequestError)


def test_settings_are_those_of_generate(folder: Path) -> None:
    def answers(*options: str) -> dict[str, dict[str, object]]:
        done = call(folder, "-", "--json", *options, stdin="One?")
        assert done.exit_code == 0, done.output
        found: dict[str, dict[str, object]] = json.loads(done.stdout)["answers"]
        return found

    usual, drawn = answers(), answers("--temperature", "1", "--seed", "3", "--mode", "every-step")
    assert (
        drawn["Ensemble"]["text"]
        == answers("--temperature", "1", "--seed", "3", "--mode", "every-step")["Ensemble"]["text"]
    )
    assert drawn["a"]["text"] != usual["a"]["text"]
    assert answers("--max-new-tokens", "2")["a"]["num_tokens"] == 2
    first = answers("--mode", "every-step", "--combine", "contrastive", "--combine-param", "strength=0")
    assert str(usual["a"]["text"]).startswith(str(first["Ensemble"]["text"]))


def test_settings_that_there_are_not_are_bad_input(folder: Path) -> None:
    assert isinstance(call(folder, "-", "--combine", "best", stdin="One?").exception, RequestError)
    assert call(folder, "-", "--mode", "alone", stdin="One?").exit_code == 2
