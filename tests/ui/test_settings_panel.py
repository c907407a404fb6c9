from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gac_app.errors import RequestError
from gac_app.evaluation.studies.result import StudyResult
from gac_app.services.lab import Lab
from gac_app.ui.settings_panel import FIELDS, advice_of, changes_from, summary_of, values_of
from tests.services.test_lab import store_in, study_pair
from tests.services.test_strength import benchmark_data
from tests.ui.planted import planted_config

CONFIG = planted_config()


def values(**changed: Any) -> list[Any]:
    """The panel's default values with some changed; `weights_own` stands for the sliders."""
    out = values_of(CONFIG, CONFIG.settings)
    sliders = changed.pop("weights_own", out[len(FIELDS) :])
    for name, value in changed.items():
        out[FIELDS.index(name)] = value
    return [*out[: len(FIELDS)], *sliders]


def test_defaults_change_nothing() -> None:
    assert changes_from(CONFIG, values()) == {}


def test_only_what_differs_is_a_change() -> None:
    assert changes_from(CONFIG, values(threshold=0.7, seed=3)) == {"threshold": 0.7, "seed": 3}


def test_own_weights_come_from_the_sliders() -> None:
    changes = changes_from(CONFIG, values(weights="own", weights_own=[0.75, 0.25]))
    assert changes == {"weights": {"Small": 0.75, "Large": 0.25}}


def test_values_round_trip() -> None:
    settings = CONFIG.settings_from({"weights": {"Small": 0.75, "Large": 0.25}, "mode": "every-step", "top_k": 5})
    assert CONFIG.settings_from(changes_from(CONFIG, values_of(CONFIG, settings))) == settings


def test_what_the_panel_gained_round_trips() -> None:
    settings = CONFIG.settings_from(
        {
            "gate_policy": "eager",
            "alignment": "paper",
            "weights": "posterior",
            "posterior_decay": 0.9,
            "min_p": 0.1,
            "reproducible": "on",
            "stop": ["a b", "\n\n"],
        }
    )
    assert CONFIG.settings_from(changes_from(CONFIG, values_of(CONFIG, settings))) == settings


@pytest.mark.parametrize("sent", [[], [None], ["gate"] * 40])
def test_a_wrong_number_of_values_is_refused(sent: list[object]) -> None:
    with pytest.raises(RequestError, match="settings"):
        changes_from(CONFIG, sent)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", "high"),
        ("seed", None),
        ("temperature", float("inf")),
        ("gate", "Nobody"),
        ("mode", ["gate"]),
        ("seed", -4),
        ("temperature", 50),
        ("top_p", 0),
        ("max_new_tokens", None),
        ("threshold", None),
        ("alignment", "best"),
        ("gate_policy", "soon"),
        ("weights", "posterio"),
        ("posterior_decay", 0),
        ("min_p", 2),
        ("reproducible", "maybe"),
        ("reproducible", None),
        ("stop", "x" * 201),
        ("stop", 5),
    ],
)
def test_a_bad_value_is_named_in_the_summary(name: str, value: object) -> None:
    summary = summary_of(CONFIG, values(**{name: value}))
    assert summary.startswith("Settings need a look")
    assert name in summary


def test_cleared_texts_are_none() -> None:
    assert changes_from(CONFIG, values(stop=None, system_prompt=None)) == {}


def test_a_summary_says_what_matters() -> None:
    assert "gate Small · others asked below 50%" in summary_of(CONFIG, values())
    assert "every step combined" in summary_of(CONFIG, values(mode="every-step"))
    assert "temperature 0.7" in summary_of(CONFIG, values(temperature=0.7))


def test_the_advice_is_on_the_settings_as_they_are_now(tmp_path: Path) -> None:
    lab = Lab(CONFIG, tmp_path, study_pair, store_in(tmp_path))
    lab.results.files.keep(
        StudyResult("eval", "", [], benchmark_data("sums", Small=0.4, Large=0.8)), ("Small", "Large")
    )
    assert advice_of(CONFIG, lab, values()).startswith("On sums (40 questions), Small lags behind Large by 50%.")
    assert advice_of(CONFIG, lab, values(gate="Large")) == ""
    assert advice_of(CONFIG, lab, values(weights="own", weights_own=[0.5, 1])) == ""
    assert advice_of(CONFIG, lab, values(threshold=None)) == "", "the summary says what is wrong with them"
    assert advice_of(CONFIG, None, values()) == ""
