"""`python -m gac_app eval`: what it prints and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gac_app.errors import GacError
from tests.evaluation.conftest import call

SYSTEMS = "alone:a,every-step,gate@0.5+prefix"
COST = ("ms_per_token", "seconds_per_answer", "member_seconds_per_answer")


def test_the_json_is_what_is_promised(folder: Path) -> None:
    arguments = ["--systems", SYSTEMS, "--limit", "3", "--json", "--against", "every-step+posterior"]
    done = call(folder, "eval", *arguments)
    found = json.loads(done.stdout)
    assert (found["task"], found["n"]) == ("arc_challenge", 3)
    assert list(found["systems"]) == [*SYSTEMS.split(","), "every-step+posterior"]
    for name, system in found["systems"].items():
        assert {"accuracy", "ci", "errors", "share_ensembled", *COST} < set(system)
        for key, itself in (("vs_best_member", "alone:a"), ("vs_every-step+posterior", "every-step+posterior")):
            assert system[key] is None if name == itself else set(system[key]) == {"delta", "p"}
    assert "12 of 12 answers" in done.stderr
    assert call(folder, "eval", *arguments, "--fresh").stderr.startswith("arc_challenge: 0 of 12 answers\n")


def test_a_failed_answer_fails_the_command(folder: Path) -> None:
    """The second question is longer than the members' context."""
    questions = [{"question": text, "answers": ["x"]} for text in ("Short?", "long " * 3000)]
    (folder / "long.jsonl").write_text("\n".join(map(json.dumps, questions)), encoding="utf-8")
    done = call(folder, "eval", "--systems", "every-step", "--json", task="nq", data="long")
    assert isinstance(done.exception, GacError)
    assert str(done.exception).startswith("Answers failed and count as wrong (every-step 1). The first: prompt: is ")
    assert json.loads(done.stdout)["systems"]["every-step"]["errors"] == 1


@pytest.mark.parametrize(
    ("arguments", "files", "message"),
    [
        (["--parallel", "5"], {}, "parallel: 5 answers at once need max_sequences 10 of a"),
        ([], {"task": "nq"}, "data: line-1: nq needs 'answers'"),
    ],
)
def test_bad_input_is_told(folder: Path, arguments: list[str], files: dict[str, str], message: str) -> None:
    assert message in str(call(folder, "eval", *arguments, **files).exception)


def test_a_gate_rule_without_effect_is_warned_of(folder: Path) -> None:
    names = "every-step+gate-rule=margin,gate@0.5+gate-rule=margin"
    done = call(folder, "eval", "--systems", names, data="none")  # fails before members are loaded
    why = "gate_rule: 'margin' has no effect, since all members are asked at every step"
    assert done.stderr == f"warning: every-step+gate-rule=margin: {why}\n"
