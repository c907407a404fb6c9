"""`python -m gac_app eval`: what it prints, what it refuses, and, as a process of its own, a kill in the middle."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gac_app.cli import app
from gac_app.errors import GacError
from tests.command_line import run_command
from tests.evaluation.conftest import killed_with

SYSTEMS = "alone:a,every-step,gate@0.5+prefix"
COST = ("ms_per_token", "seconds_per_answer", "member_seconds_per_answer")


def _run(folder: Path, *arguments: str, cache: str = "cache") -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    done = run_command("eval", "--config", str(folder / "two.yaml"), *arguments, GAC_CACHE=str(folder / cache))
    return done.returncode, done.stdout, done.stderr


def _call(folder: Path, *arguments: str) -> Result:
    """The same in this process, which has the libraries loaded; errors are left as they are raised."""
    environment = {"GAC_CACHE": str(folder / "cache")}
    return CliRunner().invoke(app, ["eval", "--config", str(folder / "two.yaml"), *arguments], env=environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    members = "\n".join(f"  - {{name: {name}, source: 'random:{seed}'}}" for seed, name in enumerate("ab"))
    (tmp_path / "two.yaml").write_text(f"members:\n{members}\n", encoding="utf-8")
    things = ["sky", "sea", "snow", "grass", "coal", "blood", "milk", "gold", "rust", "jade", "bone", "rose"]
    questions = [
        {"id": thing, "question": f"The colour of {thing} is", "choices": ["blue", "white", "black"], "answer": n % 3}
        for n, thing in enumerate(things)
    ]
    (tmp_path / "colours.jsonl").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    return tmp_path


def _colours(folder: Path) -> list[str]:
    return ["--task", "arc_challenge", "--data", str(folder / "colours.jsonl"), "--systems", SYSTEMS, "--parallel", "1"]


def _without_cost(printed: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(printed)
    for system in found["systems"].values():
        for key in COST:
            del system[key]
    return found


@pytest.mark.process
def test_killed_in_the_middle_it_goes_on_to_the_same_figures(folder: Path) -> None:
    code, whole, _ = _run(folder, *_colours(folder), "--json", cache="undisturbed")
    assert code == 0
    arguments = ["eval", "--config", str(folder / "two.yaml"), *_colours(folder), "--json"]
    assert killed_with(5, folder, *arguments).returncode == -signal.SIGKILL
    assert _num_kept(folder) == 5
    code, resumed, told = _run(folder, *_colours(folder), "--json")
    assert code == 0
    assert "5 of 36 answers, 5 from earlier runs" in told
    assert _num_kept(folder) == 36, "nothing is asked twice"
    assert _without_cost(resumed) == _without_cost(whole)


def _num_kept(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (folder / "cache" / "evaluation").glob("*.jsonl"))


@pytest.mark.slow
def test_answers_that_are_to_be_reproducible_are_kept_apart(folder: Path) -> None:
    for num_kept, how in ((3, []), (3, []), (6, ["--reproducible", "on"])):
        assert _call(folder, *_colours(folder), "--limit", "1", *how).exit_code == 0
        assert _num_kept(folder) == num_kept


def test_the_json_is_what_is_promised(folder: Path) -> None:
    arguments = [*_colours(folder), "--limit", "3", "--json", "--against", "every-step+posterior"]
    done = _call(folder, *arguments)
    found = json.loads(done.stdout)
    assert (found["task"], found["n"]) == ("arc_challenge", 3)
    assert list(found["systems"]) == [*SYSTEMS.split(","), "every-step+posterior"]
    for name, system in found["systems"].items():
        low, high = system["ci"]
        assert 0 <= low <= system["accuracy"] <= high <= 1
        assert system["errors"] == 0
        for key, itself in (("vs_best_member", "alone:a"), ("vs_every-step+posterior", "every-step+posterior")):
            assert system[key] is None if name == itself else set(system[key]) == {"delta", "p"}
        assert (system["share_ensembled"] == 0) == name.startswith("alone")
    assert "12 of 12 answers" in done.stderr
    assert _call(folder, *arguments, "--fresh").stderr.startswith("arc_challenge: 0 of 12 answers\n")


def test_the_table_has_a_row_per_system(folder: Path) -> None:
    printed = _call(folder, *_colours(folder), "--limit", "2").stdout
    rows = [line.split()[0] for line in printed.splitlines() if "%" in line and " to " in line]
    assert rows == SYSTEMS.split(",")


def test_members_of_unequal_strength_are_told(folder: Path) -> None:
    """No member answers alone here, so the configuration's scores decide."""
    config = folder / "two.yaml"
    text = config.read_text(encoding="utf-8").replace("random:0'", "random:0', score: 80")
    text = text.replace("random:1'", "random:1', score: 60") + "settings: {mode: every-step}\n"
    config.write_text(text, encoding="utf-8")
    arguments = [*_colours(folder), "--limit", "2", "--systems", "every-step"]
    told = "By score, b lags behind a by 25 %."
    assert told in _call(folder, *arguments).stdout
    config.write_text(text.replace("every-step", "gate"), encoding="utf-8")
    assert told not in _call(folder, *arguments).stdout


def test_a_failed_answer_fails_the_command(folder: Path) -> None:
    """The second question is longer than the members' context."""
    questions = [{"question": text, "answers": ["x"]} for text in ("Short?", "long " * 3000)]
    (folder / "long.jsonl").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    done = _call(folder, "--task", "nq", "--data", str(folder / "long.jsonl"), "--systems", "every-step", "--json")
    assert isinstance(done.exception, GacError)
    assert str(done.exception).startswith("answers failed and count as wrong (every-step 1); the first: prompt: is ")
    assert json.loads(done.stdout)["systems"]["every-step"]["errors"] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--task", "chess"], "task: unknown task 'chess'"),
        (["--systems", "alone:c"], "systems: 'c' is not a member"),
        (["--data", "none.jsonl"], "none.jsonl: cannot be read"),
        (["--parallel", "5"], "parallel: 5 answers at once need max_sequences 10 of a"),
        (["--task", "nq"], "data: sky: nq needs 'answers'"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(folder: Path, changes: list[str], message: str) -> None:
    code, printed, told = _run(folder, *_colours(folder), *changes)
    assert (code, printed, told.count("\n")) == (2, "", 1)
    assert message in told


def test_a_gate_rule_without_effect_is_warned_of(folder: Path) -> None:
    arguments = ["--task", "arc_challenge", "--data", str(folder / "none.jsonl")]  # fails before members are loaded
    code, _, errors = _run(folder, *arguments, "--systems", "every-step+gate-rule=margin,gate@0.5+gate-rule=margin")
    assert code == 2
    warnings = [line for line in errors.splitlines() if line.startswith("warning:")]
    why = "gate_rule: 'margin' has no effect, since all members are asked at every step"
    assert warnings == [f"warning: every-step+gate-rule=margin: {why}"]
