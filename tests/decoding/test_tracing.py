"""The trace of a step, all of it, also through JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args, get_origin, get_type_hints

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.distribution import MemberStep
from gac_app.decoding.distribution.token_distribution import TokenDistribution
from gac_app.decoding.loop.mixture import Mixture
from gac_app.decoding.loop.tracing import StepView, trace_of
from gac_app.decoding.rules.gate import GateDecision
from gac_app.decoding.trace import Candidate, MemberTrace, StepOutline, StepTrace, TokenEvent, is_changed
from gac_app.decoding.trace.serialise import round_float, step_from_json, step_to_json, token_from_json, token_to_json
from gac_app.vocab.union import UnionVocabulary

UNION = UnionVocabulary([b"a", b"b", b"c"])
ONE = MemberStep(TokenDistribution(torch.tensor([0.5, 0.25, 0.0, 0.25])), num_read=3, seconds=0.5)
OTHER = MemberStep(TokenDistribution(torch.tensor([0.25, 0.75, 0.0, 0.0])), num_read=1, seconds=0.25)
TOP_OF_ONE = (Candidate(0, b"a", 0.5), Candidate(1, b"b", 0.25), Candidate(3, b"", 0.25))
TOP_OF_OTHER = (Candidate(1, b"b", 0.75), Candidate(0, b"a", 0.25))


def traced(gate: GateDecision, token_id: int, weights: dict[str, float], **fed: Any) -> StepTrace:
    """Both are asked; those with weights take part."""
    asked = {"one": ONE, "other": OTHER}
    mixture = Mixture({name: asked[name].distribution for name in weights}, weights)
    return trace_of(StepView(asked, gate, mixture), token_id=token_id, position=7, union=UNION, **fed)


def test_a_step_of_two_members() -> None:
    fed: dict[str, Any] = {"spellings": {"other": (b"a", b"b")}, "dropped": ("third",), "is_shared": False}
    fed |= {"is_drafted": True, "drafted_by": ("one",), "is_partial": True, "evidence": {"one": 0.5}, "is_forced": True}
    decision = GateDecision(is_open=True, confidence=0.375)
    assert traced(decision, 0, {"one": 0.75, "other": 0.25}, **fed) == StepTrace(
        position=7,
        token_id=0,
        token=b"a",
        prob=0.4375,
        top=(Candidate(0, b"a", 0.4375), Candidate(1, b"b", 0.375), Candidate(3, b"", 0.1875)),
        gate_confidence=0.375,
        is_ensembled=True,
        winner="one",
        members=(
            MemberTrace("one", 0.75, 0.5, 1, TOP_OF_ONE, 3, 0.5),
            MemberTrace("other", 0.25, 0.25, 2, TOP_OF_OTHER, 1, 0.25),
        ),
        **fed,
    )


@pytest.mark.parametrize(
    ("token", "gate_choice", "expected"),
    [(b"a", None, False), (b"a", b"a", False), (b"a", b"b", True), (b"a", b"ab", False), (b"ab", b"a", True),
     (b"a", b"", True), (b"", b"a", True), (b"", b"", False)],
)  # fmt: skip
def test_the_start_of_the_gates_choice_is_no_change(token: bytes, gate_choice: bytes | None, expected: bool) -> None:
    step = StepTrace(0, 0, token, 1.0, (), 1.0, True, "one", (), gate_choice=gate_choice)
    stored = step_from_json(step_to_json(step))
    assert is_changed(step) == is_changed(stored) == is_changed(StepOutline.of(TokenEvent("", step))) == expected


def test_without_a_gate_rule_the_confidence_is_the_largest() -> None:
    step = traced(GateDecision(True), 1, {"one": 0.5, "other": 0.5})
    assert (step.winner, step.gate_confidence) == ("other", 0.5)


@pytest.mark.parametrize(("drawn", "is_ensembled"), [("", False), ("other", True)])
def test_a_step_of_one_member(drawn: str, is_ensembled: bool) -> None:
    step = traced(GateDecision(True, None, drawn), 1, {"other": 1.0})
    assert (step.drawn, step.is_ensembled, step.winner) == (drawn, is_ensembled, "other")
    assert (step.gate_confidence, step.prob, step.top) == (0.75, 0.75, TOP_OF_OTHER)
    assert step.members == (MemberTrace("other", 1.0, 0.75, 1, TOP_OF_OTHER, 1, 0.25),)


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


@given(values_of(TokenEvent))
def test_steps_come_back_in_their_events(event: TokenEvent) -> None:
    assert token_from_json(json.loads(json.dumps(token_to_json(event), allow_nan=False))) == event


@given(st.floats(min_value=1e-30, max_value=1e6))
def test_rounding_keeps_six_digits(value: float) -> None:
    assert round_float(value) == pytest.approx(value, rel=5e-6)
    assert len(f"{round_float(value):e}".rstrip("0")) <= len("1.23456e+00") + 1
