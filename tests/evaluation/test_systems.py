"""Systems by name, and `python -m gac_app eval`: what it prints and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gac_app.errors import GacError, RequestError
from gac_app.evaluation.running.systems import parse_system, parse_systems
from tests.evaluation.conftest import call
from tests.evaluation.fakes import CONFIG
from tests.fakes import config_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("every-step", {"mode": "every-step", "weights": "average", "alignment": CONFIG.settings.alignment}),
        ("gate@0.5", {"mode": "gate", "threshold": 0.5, "gate": "a"}),
        ("gate@0.3+gate=b+prefix", {"mode": "gate", "threshold": 0.3, "gate": "b", "alignment": "prefix"}),
        ("every-step+paper", {"alignment": "paper"}),
        ("every-step+posterior+decay=0.9", {"weights": "posterior", "weight_params": {"decay": 0.9}}),
        ("gate@0.5+gate-temperature=2", {"gate_temperature": 2.0, "threshold": 0.5}),
        ("every-step+top-p=0.9+temperature=1+reproducible=on", {"top_p": 0.9, "temperature": 1, "reproducible": "on"}),
        ("agreement+paper", {"mode": "agreement", "alignment": "paper"}),
        ("every-step+unite+k=5", {"alignment": "paper", "combine": "unite", "combine_params": {"top_k": 5.0}}),
        (
            "gate@0.4+combine=sharpened+combine.below=0.4+combine.temperature=0.7+gate-rule=margin+weights=entropy",
            {
                "combine": "sharpened",
                "combine_params": {"below": 0.4, "temperature": 0.7},
                "gate_rule": "margin",
                "weights": "entropy",
            },
        ),
        ("every-step+prefix+w=2:1", {"weights": {"a": 2.0, "b": 1.0}, "alignment": "prefix"}),
    ],
)
def test_a_name_says_the_settings(name: str, expected: dict[str, Any]) -> None:
    system = parse_system(name, CONFIG)
    settings = system.settings(CONFIG).model_dump()
    assert (system.name, system.alone) == (name, None)
    assert {key: settings[key] for key in expected} == expected


@pytest.mark.parametrize(("name", "culprit"), [
    ("alone:c", "'c' is not a member"), ("sometimes", "unknown system 'sometimes'"),
    ("gate@half", "'half' is not a number"), ("gate@7", "threshold"), ("gate@0.5+gate=c", "'c' is not a member"),
    ("every-step+magic", "unknown option 'magic'"), ("every-step+top-p=half", "top_p"),
    ("every-step+top-p=", "unknown option 'top-p='"), ("every-step+unite+k=2.5", "combine_params.top_k"),
    ("every-step+combine=best", "unknown combine rule 'best'"), ("every-step+w=1", "a weight for each of a, b"),
    ("every-step+w=0:0", "above 0"), ("every-step+score", "needs a score"), ("", "none is named"),
    *((f"vote+{option}", "samples") for option in ("prefix", "samples=-1", "of=nobody")),
    *((f"mbr+samples={number}", "samples") for number in ("x", "1.5", "65")),
])  # fmt: skip
def test_a_bad_name_is_told(name: str, culprit: str) -> None:
    with pytest.raises(RequestError, match=culprit):
        parse_systems(name, CONFIG)


def test_each_is_taken_once_in_order() -> None:
    names = [system.name for system in parse_systems("gate@0.5, every-step,gate@0.5", CONFIG)]
    assert names == ["gate@0.5", "every-step"]


@pytest.mark.parametrize("name", ["every-step", "alone:a", "gate@0.5+on-member-failure=drop"])
def test_no_system_drops_a_member(name: str) -> None:
    dropping = config_of(["a", "b"], {"on_member_failure": "drop"})
    assert parse_system(name, dropping).settings(dropping).on_member_failure == "stop"


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
