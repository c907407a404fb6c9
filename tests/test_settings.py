"""A field of `Settings` is all there is to say of a setting."""

from __future__ import annotations

import inspect
from typing import Literal, get_args, get_origin

import pytest

from gac_app.commands.generate import generate
from gac_app.commands.setting_options import _parsed_weights, help_of
from gac_app.errors import RequestError
from gac_app.settings import RULE_PARAMS, SAMPLING, Settings, shown
from gac_app.ui.settings.fields import fields_of
from tests.examples import another_value
from tests.fakes import config_of

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
