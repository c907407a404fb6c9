from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.errors import RequestError
from gac_app.evaluation.studies.result import StudyResult
from gac_app.services.lab.lab import Lab
from gac_app.settings import Settings, shown
from gac_app.ui.settings.fields import fields_of, idle_of, spec_of
from gac_app.ui.settings.panel import meaning_of
from gac_app.ui.settings.stop_lines import from_lines, to_lines
from gac_app.ui.settings.values import changes_from, faults_in, values_of
from gac_app.ui.words import said
from tests.services.lab.test_lab import benchmark_data, store_in, study_pair
from tests.ui.planted import planted_config

CONFIG = planted_config()
DEFAULTS = values_of(CONFIG, CONFIG.settings)
DRAWN = {name for name, field in Settings.model_fields.items() if shown(field).need == "draw"}


def test_only_what_differs_from_the_defaults_is_a_change() -> None:
    assert changes_from(CONFIG, {}) == changes_from(CONFIG, DEFAULTS) == {}
    assert changes_from(CONFIG, {**DEFAULTS, "threshold": 0.7, "seed": 3}) == {"threshold": 0.7, "seed": 3}
    assert changes_from(CONFIG, {"threshold": 0.7}) == {"threshold": 0.7}
    own = {"Small": 3, "Large": 1}
    assert changes_from(CONFIG, {"weights": "own", "own_weights": own}) == {"weights": own}
    assert changes_from(CONFIG, {"own_weights": own}) == {}, "they count where they are chosen"


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": {"Small": 0.75, "Large": 0.25}, "mode": "every-step", "top_k": 5, "temperature": 0.5},
        {"gate_policy": "eager", "alignment": "paper", "weights": "posterior", "weight_params": {"decay": 0.9}},
        {"min_p": 0.1, "reproducible": "on", "stop": ["a b", "\n\n"], "system_prompt": "Be brief."},
        {"members": ("Large",), "gate": "Large"},
        {"combine": "power", "combine_params": {"exponent": 3.0}, "gate_rule": "margin", "weights": "entropy"},
    ],
)
def test_settings_round_trip(changes: dict[str, Any]) -> None:
    settings = CONFIG.settings_from(changes)
    assert CONFIG.settings_from(changes_from(CONFIG, values_of(CONFIG, settings))) == settings


def test_another_rule_takes_no_parameter_of_the_same_name() -> None:
    settings = CONFIG.settings_from({"weights": "prompt-perplexity", "weight_params": {"temperature": 0.05}})
    assert changes_from(CONFIG, {**values_of(CONFIG, settings), "weights": "entropy"}) == {"weights": "entropy"}


@pytest.mark.parametrize("sent", [[], None, "x", {"nothing": 1}, {"speculation": "on"}])
def test_what_is_not_of_the_panel_is_refused(sent: object) -> None:
    with pytest.raises(RequestError, match="settings"):
        changes_from(CONFIG, sent)


FAULTS: dict[str, list[tuple[str, object]]] = {
    "Choose 0 to 100 %.": [("threshold", "high")],
    "Type a whole number of at least 0.": [("seed", value) for value in (None, -4, 0.5)],
    "Type 0, or a number from 0.01 to 5.": [("temperature", value) for value in (float("inf"), 50, None, 0.001)],
    "Type a number from 1 to 3.": [("repetition_penalty", 9)],
    "Type a number above 0, at most 100.": [("gate_temperature", 0)],
    "Type a whole number from 1 to 32,768.": [("max_new_tokens", None)],
    "Choose 1 to 100 %.": [("top_p", 0)],
    "Choose one of these.": [
        ("mode", ["gate"]),
        ("alignment", "best"),
        ("weights", "posterio"),
        ("reproducible", None),
    ],
    "Type at most 16 stop strings of at most 200 characters each.": [("stop", "x" * 201), ("stop", 5)],
    "Type at most 20,000 characters.": [("system_prompt", "x" * 20_001)],
}


@pytest.mark.parametrize(("name", "value", "fault"), [(*one, fault) for fault, of in FAULTS.items() for one in of])
def test_a_fault_stands_at_its_field_and_repeats_nothing(name: str, value: object, fault: str) -> None:
    assert faults_in(CONFIG, {name: value}) == {name: fault}
    with pytest.raises(RequestError) as caught:
        changes_from(CONFIG, {name: value})
    assert (caught.value.field, caught.value.message.partition(": ")[2]) == (name, fault)
    assert said(caught.value.message, "de").partition(": ")[2] == said(faults_in(CONFIG, {name: value})[name], "de")


@pytest.mark.parametrize("own", [{"Small": 0, "Large": 0}, {"Small": None}, {"Small": -1, "Large": 2}, 5, {}])
def test_own_weights_have_a_fault_of_their_own(own: object) -> None:
    assert list(faults_in(CONFIG, {"weights": "own", "own_weights": own})) == ["own_weights"]


@pytest.mark.parametrize(
    "wrong", [{"members": ["Large"]}, {"members": []}, {"members": ["Nobody"]}, {"members": 5}, {"gate": "Nobody"}]
)
def test_members_and_gate_have_to_fit(wrong: dict[str, Any]) -> None:
    assert list(faults_in(CONFIG, wrong)) == ["members"]


def test_all_faults_are_told_at_once() -> None:
    wrong = {"seed": None, "top_k": -1, "temperature": 9}
    assert set(faults_in(CONFIG, wrong)) == set(wrong)
    with pytest.raises(RequestError, match="settings: Correct these settings: Temperature, Top-k, Seed"):
        changes_from(CONFIG, wrong)
    assert meaning_of(CONFIG, None, wrong)["summary"].startswith("to correct")
    assert set(faults_in(CONFIG, {"seed": None, "gate": "Large", "members": ["Small"]})) == {"seed", "members"}


RULES = {"gate_rule", "gate_temperature", "gate_policy"}
OF_SEVERAL = {"mode", "gate", "threshold", "weights", "own_weights", "combine", "alignment", *RULES}


@pytest.mark.parametrize(
    ("values", "idle"),
    [
        *(({}, {"own_weights", *DRAWN}), ({"temperature": 1}, {"own_weights"})),
        ({"temperature": 1, "mode": "every-step", "weights": "own"}, {"gate", "threshold", *RULES}),
        ({"temperature": 1, "mode": "agreement", "weights": "posterior"}, {"threshold", "own_weights", *RULES}),
        ({"temperature": 1, "threshold": 1.01, "weights": "own"}, RULES),
        ({"temperature": 1, "members": ["Small"]}, OF_SEVERAL),
    ],
)
def test_what_has_no_effect_is_left_out(values: dict[str, Any], idle: set[str]) -> None:
    assert {name for name in idle_of(CONFIG, {**DEFAULTS, **values}) if "." not in name} == idle


def test_what_is_wrong_is_never_left_out() -> None:
    """A run is refused because of it, also where it would have no effect."""
    meaning = meaning_of(CONFIG, None, {"mode": "every-step", "threshold": 7})
    assert set(meaning["faults"]) == {"threshold"}
    assert ("threshold" in meaning["idle"], "gate_rule" in meaning["idle"]) == (False, True)


def test_parameters_have_an_effect_where_their_rule_is_chosen() -> None:
    def idle(**values: Any) -> set[str]:
        return {name for name in idle_of(CONFIG, {**DEFAULTS, **values}) if "." in name}

    params = {field.name for field in fields_of(CONFIG) if field.is_of}
    assert {"combine.power.exponent", "weights.posterior.decay"} < params == idle()
    assert params - idle(combine="power") == {"combine.power.exponent"}
    assert idle(combine="power", members=["Small"]) == params


def test_fields_are_as_the_settings_and_their_model_say() -> None:
    """Five come first, the rest is research."""
    fields = fields_of(CONFIG)
    names, first = [field.name for field in fields], [field.name for field in fields if field.is_main]
    assert first == names[:5] == ["max_new_tokens", "system_prompt", "mode", "threshold", "temperature"]
    assert {*names, "gate"} == set(DEFAULTS)
    spec = {item["name"]: item for item in spec_of(CONFIG)}
    assert spec["seed"]["min"] == 0
    assert (spec["combine.power.exponent"]["kind"], spec["combine.power.exponent"]["min"]) == ("number", -20)
    assert (spec["combine.unite.top_k"]["kind"], spec["combine.unite.top_k"]["max"]) == ("whole", 1000)
    assert spec["weights.posterior.decay"]["kind"] == "share"
    assert "mean" in dict(spec["combine"]["choices"])


def test_a_parameter_out_of_range_is_told_at_its_field() -> None:
    told = {"combine.power.exponent": "Type a number from -20 to 20."}
    for value in (99, None, [1], {"x": 1}):  # None: the field is empty
        wrong = {"combine.power.exponent": value}
        assert faults_in(CONFIG, {"combine": "power", **wrong}) == told
        assert faults_in(CONFIG, wrong) == {}, "of a rule that is not chosen"
    for field in fields_of(CONFIG):
        if field.kind == "share":
            lowest = {field.name: 0.01 if field.bounds["min"] or "above" in field.bounds else 0}
            assert faults_in(CONFIG, lowest | dict([field.is_of] if field.is_of else [])) == {}, "the slider's end"
    decay = {"weights": "posterior", "weights.posterior.decay": 0}
    assert faults_in(CONFIG, decay) == {"weights.posterior.decay": "Choose 1 to 100 %."}
    assert faults_in(CONFIG, {"combine": "best"}) == {"combine": "Choose one of these."}


def test_the_advice_is_on_the_settings_as_they_are_now(tmp_path: Path) -> None:
    lab = Lab(CONFIG, tmp_path, study_pair, store_in(tmp_path))
    result = StudyResult("eval", "", [], benchmark_data("sums", Small=0.4, Large=0.8))
    lab.results.files.keep(result, ("Small", "Large"))

    def advice(lab: Lab | None = lab, **values: Any) -> Any:
        return meaning_of(CONFIG, lab, values)["advice"]

    assert advice().startswith("On sums (40 questions), behind Large: Small by 50 %.")
    assert advice(gate="Large") == ""
    assert advice(weights="own", own_weights={"Small": 0.5, "Large": 1}) == ""
    assert advice(threshold=None) == "", "the summary says what is wrong with them"
    assert advice(None) == ""


@given(st.lists(st.text(min_size=1)))
def test_any_stop_strings_come_back(stop: list[str]) -> None:
    assert from_lines(to_lines(tuple(stop))) == tuple(stop)


TYPED = [("", ()), ("END\n\n###\n", ("END", "###")), ("\\n\\n", ("\n\n",)), (" ", (" ",))]
TYPED += [("C:\\dir\\\\n", ("C:\\dir\\n",))]  # only \n, \r and \\ mean something else


@pytest.mark.parametrize(("lines", "stop"), TYPED)
def test_what_people_type(lines: str, stop: tuple[str, ...]) -> None:
    assert from_lines(lines) == stop
