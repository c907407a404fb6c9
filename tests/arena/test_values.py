"""Contestants, language, style."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from gac_app.arena.contestants import contestants_of
from gac_app.arena.drawing import AGAIN, FLOOR, draw_pair, pair_probs, predicted
from gac_app.arena.language import language_of
from gac_app.arena.rating.style import style_of
from gac_app.config_file import load_config
from gac_app.errors import ConfigError
from tests.fakes import config_of


def test_usual_contestants_are_members_and_two_ensembles() -> None:
    """Unless the operator lists others."""
    listed = [{"name": "one", "member": "b"}, {"name": "third", "settings": {"threshold": 0.3}}]
    own = contestants_of(config_of(["a", "b"], arena={"contestants": listed}))
    assert [(one.name, one.member, one.settings.threshold) for one in own] == [("one", "b", 0.5), ("third", None, 0.3)]
    found = contestants_of(config_of(["a", "b"]))
    expected = [("a", "a", "gate"), ("b", "b", "gate"), ("every step", None, "every-step"), ("gate", None, "gate")]
    assert [(one.name, one.member, one.settings.mode) for one in found] == expected
    assert [one.name for one in contestants_of(config_of(["a"]))] == ["a"]
    assert [one.name for one in contestants_of(config_of(["gate", "b"]))][3] == "ensemble, gate"


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


@pytest.mark.parametrize(("text", "code"), [
    ("Give me three tips for learning to play the guitar.", "en"), ("Who wrote Hamlet?", "en"),
    ("Warum ist der Himmel blau?", "de"), ("Qui a écrit Hamlet ?", "fr"), ("Cuéntame un chiste", "es"),
    ("为什么天空是蓝色的?", "zh"), ("为什么?", "zh"),
    ("def fibonacci(n):", "und"), ("2 + 2 = ?", "und"), ("", "und"), ("🙂🙂🙂", "und"),
])  # fmt: skip
def test_the_language_of_a_prompt(text: str, code: str) -> None:
    assert language_of(text) == code


def test_the_look_of_an_answer_is_counted_outside_of_code() -> None:
    text = "# Title\n\n- one\n- **two**\n3. three\n\n```\n# no heading\n- no list\n```\nnot - a list, not # a heading\n"
    assert style_of(text) == {"chars": len(text), "headings": 1, "lists": 3, "bold": 1}
    assert style_of("```\n- open to the end") == {"chars": 21, "headings": 0, "lists": 0, "bold": 0}


NAMES = ["a", "b", "c", "d"]


def test_few_votes_and_close_ratings_come_first() -> None:
    num_votes = {frozenset(pair): 50 for pair in combinations(NAMES, 2)} | {frozenset("ab"): 5}
    probs = pair_probs(NAMES, num_votes, {"a": 1000, "b": 1000, "c": 1010, "d": 1800})
    assert max(probs, key=probs.__getitem__) == ("a", "b")
    assert probs["a", "c"] > probs["a", "d"]
    assert min(probs.values()) >= FLOOR / 6
    assert sum(probs.values()) == pytest.approx(1)


def test_weights_hold_for_all_draws() -> None:
    votes = {frozenset("cd"): 50}
    plain, found = pair_probs(NAMES, votes, {}), pair_probs(NAMES, votes, {}, {"a": 0.5, "d": 0.1, "e": 9.0})
    weighed = {
        (left, right): prob * {"a": 0.5}.get(left, 1.0) * {"d": 0.1}.get(right, 1.0)
        for (left, right), prob in plain.items()
    }
    assert found == pytest.approx({pair: prob / sum(weighed.values()) for pair, prob in weighed.items()})
    assert pair_probs("ab", {}, {}, {"a": 0.0}) == {("a", "b"): 1}, "all others have left the configuration"


def test_a_newcomer_is_expected_to_be_as_good_as_the_mean() -> None:
    ratings = {"a": 1000.0, "b": 1400.0}
    assert predicted("a", "new", ratings) == predicted("a", "c", {**ratings, "c": 1200.0}) < 0.5
    assert predicted("new", "a", ratings) == pytest.approx(1 - predicted("a", "new", ratings))
    assert predicted("new", "newer", ratings) == predicted("new", "newer", {}) == 0.5


def test_the_present_pair_comes_again_but_seldom() -> None:
    rng, num = random.Random(1), 5_000
    drawn = Counter(frozenset(draw_pair(pair_probs(NAMES, {}, {}), set("ab"), rng)) for _ in range(num))
    shares = {pair: count / num for pair, count in drawn.items()}
    weights = {frozenset(pair): 1.0 for pair in combinations(NAMES, 2)} | {frozenset("ab"): AGAIN}
    assert shares == pytest.approx({pair: one / sum(weights.values()) for pair, one in weights.items()}, abs=0.03)
    two = pair_probs(NAMES[:2], {}, {})
    assert {draw_pair(two, set("ab"), rng) for _ in range(50)} == {("a", "b"), ("b", "a")}
