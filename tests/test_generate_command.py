"""`generate`: what it refuses, and what a line of its JSON holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import run_command


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "two.yaml"
    path.write_text("members: [{name: a, source: 'random:1'}, {name: b, source: 'random:2'}]", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alignment", "best"], "'best' is not one of 'paper'"),
        (["--gate-policy", "soon"], "'soon' is not one of 'auto'"),
        (["--reproducible", "maybe"], "'maybe' is not one of"),
        (["--weights", "posterio"], "weights: unknown weight rule 'posterio'; expected average, score, posterior"),
        (
            ["--weights", "posterior", "--weight-param", "decay=0"],
            "weight_params.decay: Input should be greater than 0",
        ),
    ],
)
def test_bad_values_are_exit_code_2(config: str, arguments: list[str], message: str) -> None:
    done = run_command("generate", "hi", "--config", config, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_line_holds_weights_probabilities_and_spellings(config: str) -> None:
    arguments = ["--mode", "every-step", "--weights", "posterior", "--max-new-tokens", "6", "--json"]
    done = run_command("generate", "hi", "--config", config, "--alignment", "prefix", *arguments)
    assert done.returncode == 0, done.stderr
    *tokens, finished = map(json.loads, done.stdout.splitlines())
    assert finished["num_tokens"] == len(tokens) == 6
    weights = [{name: member["weight"] for name, member in token["members"].items()} for token in tokens]
    assert weights[0] == {"a": 0.5, "b": 0.5}
    assert all(abs(sum(step.values()) - 1) < 1e-6 for step in weights)
    for before, now, token in zip(weights, weights[1:], tokens, strict=False):
        posterior = {name: before[name] * max(token["members"][name]["prob"], 1e-6) for name in before}
        assert now["a"] == pytest.approx(posterior["a"] / sum(posterior.values()), rel=1e-4)
    assert all(isinstance(token["partial"], bool) for token in tokens)
    assert not any(token["drafted"] for token in tokens)
    pieces = [piece for token in tokens for spelling in token["spellings"].values() for piece in spelling]
    assert all(bytes.fromhex(piece) for piece in pieces)


def test_the_last_line_of_json_names_the_rules(config: str) -> None:
    power = ["--combine", "power", "--combine-param", "exponent=3"]
    arguments = ["generate", "hi", "--config", config, "--max-new-tokens", "2", "--json", *power]
    done = [
        run_command(*arguments, "--mode", mode, "--gate-rule", "margin") for mode in ("gate", "every-step", "alone")
    ]
    gated, every_step, alone = (json.loads(each.stdout.splitlines()[-1])["rules"] for each in done)
    assert (gated["combine"], gated["combine_params"]) == ("power", {"exponent": 3})
    assert (gated["gate_rule"], gated["weights"], every_step["gate_rule"]) == ("margin", "average", None)
    assert alone == {}
    warnings = ["", "since all members are asked at every step", "since one member answers alone"]
    for each, warning in zip(done, warnings, strict=True):
        assert ("warning: gate_rule: 'margin' has no effect" in each.stderr) is bool(warning)
        assert warning in each.stderr


@pytest.mark.parametrize(("more", "is_warned"), [([], True), (["--temperature", "1", "--alignment", "paper"], False)])
def test_a_member_that_is_not_drawn_is_warned_of(config: str, more: list[str], is_warned: bool) -> None:
    arguments = ["--combine", "random-member", "--mode", "every-step", "--max-new-tokens", "3", "--json"]
    done = run_command("generate", "hi", "--config", config, *arguments, *more)
    *tokens, _ = map(json.loads, done.stdout.splitlines())
    assert ("warning: combine: 'random-member' has no effect" in done.stderr) is is_warned
    assert all(list(token["members"]) == [token["drawn"]] for token in tokens) is not is_warned


def test_a_digest_is_printed_as_in_json(config: str) -> None:
    arguments = ["generate", "hi", "--config", config, "--max-new-tokens", "6"]
    for how, is_reproducible in (("on", True), ("off", False)):
        told = run_command(*arguments, "--digest", "--reproducible", how)
        [*_, end] = map(json.loads, run_command(*arguments, "--json", "--reproducible", how).stdout.splitlines())
        assert (end["is_reproducible"], len(bytes.fromhex(end["digest"]))) == (is_reproducible, 8)
        assert told.stdout.strip() == end["text"].strip()
        words = "reproducible" if is_reproducible else "not reproducible"
        assert told.stderr.splitlines()[-1] == f"digest {end['digest']}, {words}"
