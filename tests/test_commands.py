"""`generate`, `compare` and `vocab`: what they refuse and print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from gac_app import loading
from gac_app.cli import app
from gac_app.commands import compare
from gac_app.commands.options import load
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.trace.events import FinishedEvent, FinishReason
from gac_app.errors import GacError, RequestError
from tests.command_line import members_file, run_command
from tests.vocab.vocabularies import vocabulary


@pytest.fixture
def config(tmp_path: Path) -> str:
    return str(members_file(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--alignment best", "'best' is not one of 'paper'"),
        ("--gate-policy soon", "'soon' is not one of 'auto'"),
        ("--reproducible maybe", "'maybe' is not one of"),
        ("--max-new-tokens 0", "max_new_tokens: Input should be greater than or equal to 1"),
        ("--weights posterio", "weights: unknown weight rule 'posterio'; expected average, score, posterior"),
        ("--weights posterior --weight-param decay=0", "weight_params.decay: Input should be greater than 0"),
    ],
)
def test_bad_values_are_exit_code_2(config: str, arguments: str, message: str) -> None:
    done = run_command("generate", "hi", "--config", config, *arguments.split())
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
    arguments += ["--gate-rule", "margin", "--mode"]
    done = [run_command(*arguments, mode) for mode in ("gate", "every-step", "alone")]
    gated, every_step, alone = (json.loads(each.stdout.splitlines()[-1])["rules"] for each in done)
    assert (gated["combine"], gated["combine_params"]) == ("power", {"exponent": 3})
    assert (gated["gate_rule"], gated["weights"], every_step["gate_rule"]) == ("margin", "average", None)
    assert alone == {}
    warnings = ["", "since all members are asked at every step", "since one member answers alone"]
    for each, warning in zip(done, warnings, strict=True):
        assert ("warning: gate_rule: 'margin' has no effect" in each.stderr) is bool(warning)
        assert warning in each.stderr


def test_alone_the_gate_answers_that_is_named(config: str) -> None:
    arguments = ["--mode", "alone", "--gate", "b", "--max-new-tokens", "2", "--json"]
    done = run_command("generate", "hi", "--config", config, *arguments)
    assert list(json.loads(done.stdout.splitlines()[-1])["members"]) == ["b"]


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    members_file(tmp_path, "settings: {max_new_tokens: 6, seed: 7}\n")
    (tmp_path / "prompts.csv").write_text("prompt,id\nOne?,1\nTwo?,2\n")
    return tmp_path


def call(folder: Path, file: str, *options: str, stdin: str = "") -> Result:
    arguments = ["compare", file, "--config", str(folder / "members.yaml"), *options]
    return CliRunner().invoke(app, arguments, input=stdin, env={"GAC_CACHE": str(folder / "cache")})


def test_a_table_or_a_line_a_prompt(folder: Path) -> None:
    done = call(folder, str(folder / "prompts.csv"), "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["prompt"] for line in lines] == ["One?", "Two?"]
    assert list(lines[0]["answers"]) == ["Ensemble", "a", "b"]
    assert all(answer["text"] and not answer["error"] for line in lines for answer in line["answers"].values())
    assert "2 of 2 prompts" in done.stderr
    assert load(folder / "members.yaml", seed=0, top_k=None).settings.seed == 0, "given, if not as an option"
    printed = call(folder, "-", stdin="One?\na:b:c?")
    assert printed.exit_code == 0
    assert "a:b:c?" in printed.stdout, "no emoji"
    assert "Ensemble" in printed.stdout


def test_what_was_answered_before_ctrl_c_is_printed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object) -> Iterator[tuple[str, dict[str, compare.Told]]]:
        yield "One?", {}
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "_answered", cut)
    done = call(folder, "-", stdin="One?\nTwo?")
    assert done.exit_code == 130
    assert "One?" in done.stdout


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_answer_that_broke_fails_the_command(more: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = FinishedEvent(FinishReason.ERROR, " Pa", 1, 0, ttft_s=0.1, seconds=0.1, members={}, detail="a: broke")
    monkeypatch.setattr(Ensemble, "generate", lambda *_, **__: (event for event in [end]))
    done = CliRunner().invoke(app, ["generate", "Hi", "--config", str(folder / "members.yaml"), *more])
    assert (str(done.exception), done.exit_code) == ("a: broke", 1)


def test_a_prompt_that_does_not_fit_fails_the_command(folder: Path) -> None:
    done = call(folder, "-", "--json", stdin=f"{'word ' * 30_000}\nTwo?")
    first, second = [json.loads(line)["answers"]["Ensemble"] for line in done.stdout.splitlines()]
    assert first["error"]
    assert second["text"]
    assert isinstance(done.exception, GacError)


def test_settings_are_those_of_generate(folder: Path) -> None:
    def answers(*options: str) -> dict[str, dict[str, object]]:
        done = call(folder, "-", "--json", *options, stdin="One?")
        assert done.exit_code == 0, done.output
        found: dict[str, dict[str, object]] = json.loads(done.stdout)["answers"]
        return found

    seeded = ("--temperature", "1", "--seed", "3", "--mode", "every-step")
    usual, drawn = answers(), answers(*seeded)
    assert drawn["Ensemble"]["text"] == answers(*seeded)["Ensemble"]["text"]
    assert drawn["a"]["text"] != usual["a"]["text"]
    assert answers("--max-new-tokens", "2")["a"]["num_tokens"] == 2
    first = answers("--mode", "every-step", "--combine", "contrastive", "--combine-param", "strength=0")
    assert str(usual["a"]["text"]).startswith(str(first["Ensemble"]["text"]))


def test_what_there_is_not_is_bad_input(folder: Path) -> None:
    assert isinstance(call(folder, str(folder / "none.csv")).exception, RequestError)
    assert isinstance(call(folder, "-", "--combine", "best", stdin="One?").exception, RequestError)
    assert call(folder, "-", "--mode", "alone", stdin="One?").exit_code == 2


def test_shares_count_distinct_texts_of_all_members(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabularies = [
        vocabulary([b"a", b"b", b"a", b"c", b"d", None, b"<e>"], end_ids=[6]),
        vocabulary([b"a", b"c", b"<e>", None]),
        vocabulary([b"b", b"a"]),
    ]
    mappings = [SimpleNamespace(vocabulary=vocabulary) for vocabulary in vocabularies]
    members = {str(number): SimpleNamespace(mapping=mapping) for number, mapping in enumerate(mappings)}
    monkeypatch.setattr(loading, "load_ensemble", lambda _: SimpleNamespace(members=members, close=lambda: None))
    facts = json.loads(run_command("vocab", "--json").stdout)
    assert [(member["vocab_size"], member["num_shared"]) for member in facts["members"]] == [(7, 1), (4, 1), (2, 1)]
    assert facts["overlap"] == [[1.0, 0.5, 0.5], [0.6667, 1.0, 0.3333], [1.0, 0.5, 1.0]]
    assert facts["members"][0]["end_tokens"] == ["the id 6"]
