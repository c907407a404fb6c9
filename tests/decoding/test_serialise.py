from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.trace.events import StepTrace, TokenEvent
from gac_app.decoding.trace.serialise import (
    round_float,
    step_from_json,
    step_to_json,
    token_from_json,
    token_to_json,
)

SIX_DIGITS = st.floats(min_value=0, max_value=1e6).map(round_float)


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type, every field filled: a field added later is tested unasked."""
    if hint is float:
        return SIX_DIGITS
    if hint is str:
        return st.text(st.characters(), max_size=8)
    if dataclasses.is_dataclass(hint) or hasattr(hint, "_fields"):
        return st.builds(hint, **{name: values_of(part) for name, part in get_type_hints(hint).items()})
    if get_origin(hint) is tuple:
        return st.lists(values_of(get_args(hint)[0]), max_size=3).map(tuple)
    if get_origin(hint) is dict:
        return st.dictionaries(*(values_of(part) for part in get_args(hint)), max_size=3)
    return st.from_type(hint)


def through_json(data: dict[str, Any]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(json.dumps(data, allow_nan=False))
    return read


@given(values_of(StepTrace))
def test_steps_come_back(step: StepTrace) -> None:
    assert step_from_json(through_json(step_to_json(step))) == step


@given(values_of(TokenEvent))
def test_token_events_come_back(event: TokenEvent) -> None:
    assert token_from_json(through_json(token_to_json(event))) == event


@given(st.floats(min_value=1e-30, max_value=1e6))
def test_rounding_keeps_six_digits(value: float) -> None:
    assert round_float(value) == pytest.approx(value, rel=5e-6)
    assert len(f"{round_float(value):e}".rstrip("0")) <= len("1.23456e+00") + 1
