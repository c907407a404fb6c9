"""The configuration and a run's settings: checked once, with messages that name the field. A field of `Settings` is all
there is to say of a setting.
"""

from __future__ import annotations

import inspect
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gac_app.commands.generate import generate
from gac_app.commands.setting_options import _parsed_weights, help_of
from gac_app.config import Config
from gac_app.decoding.rules import check_rules
from gac_app.errors import RequestError
from gac_app.member_config import MemberConfig
from gac_app.services.completions.systems import Systems
from gac_app.settings import RULE_PARAMS, SAMPLING, Settings, shown
from gac_app.ui.settings.fields import fields_of
from tests.examples import another_value
from tests.fakes import config_of

MEMBERS = [{"name": name, "source": "random:0", "score": score} for name, score in (("a", 1), ("b", 3))]
CONFIG = Config.model_validate({"members": MEMBERS})
VALUES = st.none() | st.text() | st.floats() | st.lists(st.text())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("max_new_tokens", value) for value in (0, -1, 1e9, float("nan"), "abc", None, [], {})),
        *(("temperature", value) for value in (float("inf"), -0.1, float("nan"), "hot")),
        *(("threshold", value) for value in (-0.01, 1.02, float("nan"))),
        *(("weights", value) for value in ({"a": 0, "b": 0}, {"a": -1}, {"a": float("inf")}, {"c": 1}, 3)),
        *(("gate", value) for value in ("c", "", 5)),
        *(("temperature", value) for value in (1e-300, 5e-324, 0.009)),
        *(("top_p", value) for value in (0, 1e-300, 1e-7)),
        ("top_k", -1),
        ("seed", -4),
        ("stop", [""]),
        ("mode", "sometimes"),
        ("repetition_penalty", 0.5),
        ("no_such_setting", 1),
        ("system_prompt", "\ud800"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(RequestError) as caught:
        CONFIG.settings_from({field: value})
    assert caught.value.field.split(".")[0] == field
    assert caught.value.message


@given(st.dictionaries(st.sampled_from(sorted(Settings.model_fields)), VALUES))
def test_any_settings_are_taken_or_refused_never_broken(changes: dict[str, Any]) -> None:
    try:
        settings = CONFIG.settings_from(changes)
    except RequestError as error:
        assert error.field.split(".")[0] in {*Settings.model_fields, "settings"}  # noqa: PT017
    else:
        assert sum(CONFIG.weights(settings).values()) == pytest.approx(1)


@pytest.mark.parametrize(("is_open", "num_needed"), [(False, 6), (True, 8)])
def test_every_run_and_study_has_two_sequences(is_open: bool, num_needed: int) -> None:
    def config(max_sequences: int) -> Config:
        member = {"name": "a", "source": "random:0", "max_sequences": max_sequences}
        fields = {"members": [member], "server": {"max_running": 3}, "lab": {"is_open": is_open}}
        return Config.model_validate(fields)

    assert config(num_needed).members[0].max_sequences == num_needed
    with pytest.raises(ValidationError, match=f"need {num_needed} sequences in every member") as caught:
        config(num_needed - 1)
    assert ("lab.is_open" in str(caught.value)) == is_open


def test_weights_are_normalised_once() -> None:
    def weights(value: object) -> dict[str, float]:
        return CONFIG.weights(CONFIG.settings_from({"weights": value}))

    assert weights("average") == {"a": 0.5, "b": 0.5}
    assert weights("score") == {"a": 0.25, "b": 0.75}
    assert weights({"b": 4}) == {"a": 0, "b": 1}


def test_the_first_member_is_the_gate_by_default() -> None:
    assert CONFIG.settings.gate == "a"
    assert CONFIG.settings_from({}) == CONFIG.settings
    with pytest.raises(ValueError, match="frozen"):
        CONFIG.settings.threshold = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("source", "mirrors"),
    [
        ("a.gguf", (("a.gguf",),)),
        ("C:/models/a.gguf", (("C:/models/a.gguf",),)),
        (["hub:org/a#b", "a.gguf"], (("hub:org/a#b",), ("a.gguf",))),
        ([["part1", "part2"]], (("part1", "part2"),)),
        (["hub:org/a", ["pypi:p==1#a", "part2"]], (("hub:org/a",), ("pypi:p==1#a", "part2"))),
    ],
)
def test_a_source_is_a_list_of_mirrors_of_parts(source: Any, mirrors: Any) -> None:
    member = MemberConfig(name="a", source=source)
    assert member.mirrors == mirrors
    assert not member.is_random
    assert MemberConfig.model_validate_json(member.model_dump_json()) == member


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (5, "expected a source, or a list of mirrors"),
        ([["a", ["b"]]], "expected a source, or a list of mirrors"),
        ("", "expected at least one source"),
        ([], "expected at least one source"),
        ([[]], "expected at least one source"),
        (["a", ["b", ""]], "expected at least one source"),
        (["a", "ftp:b"], "unknown source 'ftp:b'"),
        (["random:1", "a"], "'random:1' cannot be mirrored or split"),
    ],
)
def test_a_source_that_cannot_work_is_refused_in_one_line(source: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        MemberConfig(name="a", source=source)
    assert [error["loc"] for error in caught.value.errors()] == [("source",)]


def test_another_rule_starts_from_its_own_parameters() -> None:
    config = config_of(["a", "b"], {"combine": "power", "combine_params": {"exponent": 3}, "weights": "posterior"})
    assert config.settings_from({"temperature": 1}).combine_params == {"exponent": 3}
    assert config.settings_from({"combine": "core"}).combine_params == {}
    assert config.settings_from({"combine": "power"}).combine_params == {"exponent": 3}
    systems = Systems(config)
    assert systems.settings_from(systems.find("gac"), {"combine": "core"}).combine_params == {}


def test_rules_are_checked_where_they_are_known() -> None:
    config = config_of(["a", "b"], {})
    assert config.settings_from({"combine": "best"}).combine == "best"
    with pytest.raises(RequestError, match="unknown combine rule 'best'"):
        config.knowing_rules(check_rules).settings_from({"combine": "best"})


FIELDS = Settings.model_fields
OPTIONS = inspect.signature(generate).parameters


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if shown(field).option is not None])
def test_a_setting_with_an_option_is_one_of_generate(name: str) -> None:
    option = name.removesuffix("s") if name in RULE_PARAMS.values() else name
    assert OPTIONS[option].default is None
    assert help_of(name)


def test_what_generate_has_no_option_for_says_so() -> None:
    silent = {name for name, field in FIELDS.items() if shown(field).option is None}
    ways = {"members", "mode", "on_member_failure", "step_timeout_s"}  # `--mode` also takes `alone`
    assert silent == {*ways, "json_schema", "logit_bias"}


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if shown(field).group])
def test_a_setting_of_the_panel_has_a_field_with_a_title(name: str) -> None:
    [found] = [field for field in fields_of(config_of(["a", "b"])) if field.name == name]
    assert found.label == FIELDS[name].title
    if get_origin(FIELDS[name].annotation) is Literal:
        assert {value for value, _ in found.choices} == set(get_args(FIELDS[name].annotation))


@pytest.mark.parametrize("name", sorted(SAMPLING - {"temperature", "seed"}))
def test_with_any_filter_sampling_is_not_plain(name: str) -> None:
    assert Settings(temperature=1, seed=3).samples_plainly
    assert not Settings(temperature=1, **{name: another_value(name)}).samples_plainly


@pytest.mark.parametrize(
    ("text", "weights"),
    [("posterior", "posterior"), ("A=2, B=1.5", {"A": 2.0, "B": 1.5}), ("A=b=2,c=1", {"A=b": 2.0, "c": 1.0})],
)
def test_weights_on_the_command_line_are_a_rule_or_numbers(text: str, weights: str | dict[str, float]) -> None:
    assert _parsed_weights(text) == weights


@pytest.mark.parametrize("text", ["=2", "A=", "A=x", "A=1,", "A=1,B"])
def test_weights_that_are_neither_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match="weights: expected a weight rule or NAME=NUMBER"):
        _parsed_weights(text)
