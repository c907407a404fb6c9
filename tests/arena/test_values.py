"""Contestants, language, style."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gac_app.arena.contestants import contestants_of
from gac_app.arena.language import language_of
from gac_app.arena.rating.style import style_of
from gac_app.config import Config
from gac_app.config_file import load_config
from gac_app.errors import ConfigError
from tests.fakes import config_of


def test_usual_contestants_are_members_and_two_ensembles() -> None:
    found = contestants_of(config_of(["a", "b"]))
    assert [(one.name, one.member, one.settings.mode) for one in found] == [
        ("a", "a", "gate"),
        ("b", "b", "gate"),
        ("every step", None, "every-step"),
        ("gate", None, "gate"),
    ]
    assert [one.name for one in contestants_of(config_of(["a"]))] == ["a"]
    assert [one.name for one in contestants_of(config_of(["gate", "b"]))][3] == "ensemble, gate"


def test_the_operator_lists_contestants() -> None:
    listed = [{"name": "one", "member": "b"}, {"name": "third", "settings": {"threshold": 0.3}}]
    found = contestants_of(config_of(["a", "b"], arena={"contestants": listed}))
    assert [(one.name, one.member, one.settings.threshold) for one in found] == [
        ("one", "b", 0.5),
        ("third", None, 0.3),
    ]


@pytest.mark.parametrize(
    ("contestants", "message"),
    [
        ([{"name": "one"}], "arena.contestants: expected at least two"),
        ([{"name": "one"}, {"name": "one"}], "arena.contestants.0.name: 'one' is used twice"),
        ([{"name": "one", "member": "c"}, {"name": "two"}], "arena.contestants.0.member: 'c' is not a member"),
        ([{"name": "x"}, {"name": "y", "settings": {"gate": "c"}}], "arena.contestants.1.settings.gate: 'c' is not"),
        ([{"name": "x"}, {"name": "y", "settings": {"colour": 1}}], "arena.contestants.1.settings.colour: unknown key"),
        ([{"name": "x", "colour": 1}, {"name": "y"}], "arena.contestants.0.colour: unknown key"),
    ],
)
def test_a_wrong_contestant_is_named(tmp_path: Path, contestants: list[Any], message: str) -> None:
    path = tmp_path / "config.yaml"
    config = {"members": [{"name": "a", "source": "random:1"}], "arena": {"contestants": contestants}}
    path.write_text(str(config))
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_temperature_of_the_arena_is_one_of_answers() -> None:
    with pytest.raises(ValueError, match=r"arena.temperature: must be 0, .* or at least 0.01"):
        config_of(["a", "b"], arena={"temperature": 0.001})


def test_a_public_host_can_be_said() -> None:
    config = config_of(["a", "b"])
    assert not config.is_public
    assert Config.model_validate({**config.model_dump(), "public": True}).is_public
    elsewhere = {**config.model_dump(), "server": {"trusted_hosts": ["example.org"]}}
    assert Config.model_validate(elsewhere).is_public
    assert not Config.model_validate({**elsewhere, "public": False}).is_public


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Give me three tips for learning to play the guitar.", "en"),
        ("Who wrote Hamlet?", "en"),
        ("Warum ist der Himmel blau?", "de"),
        ("Qui a écrit Hamlet ?", "fr"),
        ("Cuéntame un chiste", "es"),
        ("为什么天空是蓝色的?", "zh"),
        ("def fibonacci(n):", "und"),
        ("2 + 2 = ?", "und"),
        ("", "und"),
        ("🙂🙂🙂", "und"),
    ],
)
def test_the_language_of_a_prompt(text: str, code: str) -> None:
    assert language_of(text) == code


def test_the_look_of_an_answer_is_counted_outside_of_code() -> None:
    text = "# Title\n\n- one\n- **two**\n3. three\n\n```\n# no heading\n- no list\n```\nnot - a list, not # a heading\n"
    assert style_of(text) == {"chars": len(text), "headings": 1, "lists": 3, "bold": 1}
    assert style_of("```\n- open to the end") == {"chars": 21, "headings": 0, "lists": 0, "bold": 0}
