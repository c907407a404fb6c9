from __future__ import annotations

from typing import Any

import pytest

from gac_app.services.runs.comparison import Comparison
from gac_app.settings import Settings
from gac_app.ui.compare.wording import comparison_in_words
from gac_app.ui.settings.names import contestant_in_words, contestants_in_words, ensemble_in_words, systems_in_words
from gac_app.ui.settings.wording import settings_in_words
from gac_app.ui.words import said
from tests.ui.planted import planted_config

IN_WORDS: list[tuple[dict[str, Any], str]] = [
    ({}, "gate Small · others asked below 50 % · equal weights · prefix alignment · greedy · up to 256 tokens"),
    *(({"alignment": "paper"}, "paper alignment"), ({"weights": "entropy"}, "weights by certainty ·")),
    ({"gate_policy": "eager"}, "others asked below 50 % · reading along · equal"),
    ({"gate_policy": "lazy"}, "others asked below 50 % · reading when asked · equal"),
    ({"gate_policy": "eager", "mode": "every-step"}, "every step combined · equal"),  # nobody is idle then
    (
        {"mode": "agreement", "alignment": "paper", "combine": "unite"},
        "while the others agree · equal weights · paper alignment · UniTE · greedy",
    ),
    *(({"weights": "posterior"}, "posterior weights ·"), ({"stop": ("a",)}, "stop strings: 1")),
    ({"weights": "posterior", "weight_params": {"decay": 0.9}}, "posterior weights, memory 0.9"),
    ({"combine": "power", "combine_params": {"exponent": 3}}, "prefix alignment · power mean, exponent 3 · greedy"),
    ({"gate_rule": "margin"}, "others asked below 50 % · confidence: margin · equal"),
    ({"combine": "no-more"}, "prefix alignment · no-more · greedy"),
    ({"weights": {"Small": 3, "Large": 1}}, "custom weights (Small 3, Large 1)"),
    (
        {"members": ("Small", "Large"), "weights": {"Small": 3, "Tiny": 2, "Large": 1}},
        "only Small, Large · gate Small · others asked below 50 % · custom weights (Small 3, Large 1)",
    ),
    ({"members": ("Small",), "combine": "geometric"}, "only Small · greedy · up to 256 tokens"),
    ({"temperature": 0.7, "min_p": 0.05, "seed": 3}, "temperature 0.7 · min-p 0.05 · seed 3"),
    ({"min_p": 0.05, "seed": 3}, "greedy · up to"),  # without a temperature they change nothing
    ({"stop": ("a", "b"), "system_prompt": "Be brief."}, "stop strings: 2 · system prompt"),
    ({"temperature": 0.7, "top_p": 0.9}, "temperature 0.7 · top-p 0.9"),
    *(({"repetition_penalty": 1.2}, "repetition penalty 1.2"), ({"gate_temperature": 2.0}, "gate temperature 2")),
    *(({"reproducible": value}, f"up to 256 tokens · reproducible {value}") for value in ("on", "off")),
]


@pytest.mark.parametrize(("changes", "words"), IN_WORDS)
def test_settings_are_said_in_words(changes: dict[str, Any], words: str) -> None:
    assert words in settings_in_words(Settings(gate="Small", **changes))


def test_what_every_run_is_anyway_is_not_said() -> None:
    said = settings_in_words(Settings(gate="Small", temperature=0.7))
    for word in ("reproducible", "top-p", "repetition penalty", "gate temperature", "system prompt"):
        assert word not in said


DIFFERS, SAME = "differs from the previous run at token", "same text as the previous run"
AT_MOST = [(0.0003, "0.0003"), (0.5003 - 0.5, "0.0003"), (0.00027, "0.0003"), (0.00031, "0.0004"), (0.97, "1.0")]
AT_MOST += [(1.0, "1"), (0.000002, "0.000002"), (0.0000002, "0.000001"), (0.0, "0.000001")]
COMPARED_IN_WORDS = [
    (Comparison("equal", 9), "identical to the previous run"),
    (Comparison("different", 16, (b" blue", b" sky")), f'{DIFFERS} 17: "␣sky" instead of "␣blue"'),
    (Comparison("unknown", 0, (b"A", b"\xe2\x82")), f'{DIFFERS} 1: "⟨E2 82⟩" instead of "A"'),
    (Comparison("different", 2, (b"", b"\n")), f'{DIFFERS} 3: "⏎" instead of the end'),
    (Comparison("different", 2, (b" a", b""), 0, 0.5), f'{DIFFERS} 3: the end instead of "␣a"'),
    (Comparison("different", 4, (None, b"x")), f"{SAME} up to token 4, where that one ended"),
    (Comparison("different", 4, (b"x", None)), f"{SAME} up to token 4, where this one ended"),
    (Comparison("different", 9), f"{SAME}; probabilities differ in the last digits"),
    (Comparison("unknown", 9), f"{SAME} and the same probabilities to six digits"),
    *(
        (Comparison("different", 9, None, 4, most), f"{SAME}; probabilities differ from token 5 on, by at most {said}")
        for most, said in AT_MOST
    ),
]


@pytest.mark.parametrize(("comparison", "words"), COMPARED_IN_WORDS)
def test_what_came_of_running_again_is_said_in_words(comparison: Comparison, words: str) -> None:
    assert comparison_in_words(comparison) == words


CONFIG = planted_config()  # a gate at 50 %

SYSTEMS = [("alone:Small", "Small alone"), ("every-step", "ensemble, asks at every step"), ("tuned", "tuned")]
SYSTEMS += [("gate@0.7", "ensemble, asks below 70 %"), ("gate@0.125", "ensemble, asks below 12.5 %")]
SYSTEMS += [("gate@1.01", "ensemble, asks at every step"), ("agreement", "ensemble, asks where members disagree")]
SYSTEMS += [("gate@0.7+gate=Large+posterior", "ensemble, asks below 70 %, gate Large, posterior weights")]
SYSTEMS += [("every-step+unite", "ensemble, asks at every step, paper alignment, UniTE")]
SYSTEMS += [("every-step, wrong beginning", "ensemble, asks at every step, wrong beginning")]
SYSTEMS += [("vote+samples=4", "most frequent whole answer, samples 4")]
SYSTEMS += [("alone:Gone", "Gone alone"), ("gate@0.7+gate=Gone", "gate@0.7+gate=Gone")]


@pytest.mark.parametrize(("system", "words"), SYSTEMS)
def test_a_system_is_named_for_people(system: str, words: str) -> None:
    assert systems_in_words([system], CONFIG) == {system: words}


def test_two_systems_are_never_called_the_same() -> None:
    found = systems_in_words(["every-step", "gate@1.01", "gate@0.7"], CONFIG)
    assert found["every-step"] == "ensemble, asks at every step (every-step)"
    assert len(set(found.values())) == 3


def test_the_leaderboard_names_what_nobody_has_named() -> None:
    found = contestants_in_words(["Small", "gate", "every step", "half sure"], CONFIG)
    assert found == {"gate": "ensemble, asks below 50 %", "every step": "ensemble, asks at every step"}
    own = [{"name": "gate", "settings": {"threshold": 0.1}}, {"name": "b"}]
    assert contestants_in_words(["gate"], planted_config(arena={"contestants": own})) == {}


def test_a_battles_contestant_is_named_by_its_own_settings() -> None:
    settings = CONFIG.settings_from({"threshold": 0.9}).model_dump(mode="json")
    assert contestant_in_words("gate", None, settings) == "ensemble, asks below 90 %"
    assert contestant_in_words("gate", "gate", settings) == "gate"
    assert contestant_in_words("gate", None, {"of": "another version"}) == "gate"


def test_names_are_said_in_german_with_their_numbers() -> None:
    changes = {"threshold": 0.125, "gate": "Large", "alignment": "paper"}
    name = ensemble_in_words(CONFIG.settings_from(changes), CONFIG.settings)
    assert said(name, "de") == "Ensemble, fragt unter 12,5 %, Gate Large, Abgleich „Paper“"
    assert said("half sure, ready", "de") == "half sure, ready", "it is no phrase"
    assert said(name, "en") == said(name, "fr") == name
