"""Names for people: what contestants and systems are called, where people read them."""

from __future__ import annotations

import pytest

from gac_app.ui.settings.names import contestant_in_words, contestants_in_words, ensemble_in_words, systems_in_words
from gac_app.ui.words import said
from tests.ui.planted import planted_config

CONFIG = planted_config()  # a gate at 50 %


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("alone:Small", "Small alone"),
        ("every-step", "ensemble, asks at every step"),
        ("gate@0.7", "ensemble, asks below 70 %"),
        ("gate@0.125", "ensemble, asks below 12.5 %"),
        ("gate@1.01", "ensemble, asks at every step"),
        ("agreement", "ensemble, asks where members disagree"),
        ("gate@0.7+gate=Large+posterior", "ensemble, asks below 70 %, gate Large, posterior weights"),
        ("every-step+unite", "ensemble, asks at every step, paper alignment, UniTE"),
        ("every-step, wrong beginning", "ensemble, asks at every step, wrong beginning"),
        ("vote+samples=4", "most frequent whole answer, samples 4"),
        ("alone:Gone", "Gone alone"),
        ("gate@0.7+gate=Gone", "gate@0.7+gate=Gone"),
        ("tuned", "tuned"),
    ],
)
def test_a_system_is_named_for_people(system: str, words: str) -> None:
    assert systems_in_words([system], CONFIG) == {system: words}


def test_two_systems_are_never_called_the_same() -> None:
    found = systems_in_words(["every-step", "gate@1.01", "gate@0.7"], CONFIG)
    assert found["every-step"] == "ensemble, asks at every step (every-step)"
    assert len(set(found.values())) == 3


def test_the_leaderboard_names_what_nobody_has_named() -> None:
    names = ["Small", "gate", "every step", "half sure"]
    found = contestants_in_words(names, CONFIG)
    assert found == {
        "gate": "ensemble, asks below 50 %",
        "every step": "ensemble, asks at every step",
    }
    own = CONFIG.model_validate(
        {
            **CONFIG.model_dump(),
            "arena": {"contestants": [{"name": "gate", "settings": {"threshold": 0.1}}, {"name": "b"}]},
        }
    )
    assert contestants_in_words(["gate"], own) == {}


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
