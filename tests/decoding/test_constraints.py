"""What an answer may consist of: JSON schemas and biases, in every mode, against what they say by hand."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gac_app.decoding.constraints import Grammars, TokenBias
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.member import InlineMember
from gac_app.decoding.tokenizer import MemberTokenizer
from gac_app.decoding.trace import FinishReason
from gac_app.errors import ConstraintError, RequestError
from gac_app.settings import Settings
from gac_app.vocab.union import UnionVocabulary
from tests.decoding.answers import decoded
from tests.decoding.conftest import make
from tests.decoding.test_branches import HOW, assert_goes_on
from tests.fakes import FixedModel, ensemble_of, steps_and_end

LIGHT = {"properties": {"on": {"type": "boolean"}, "hue": {"enum": ["red", "réd", "green"]}}, "required": ["on", "hue"]}
LIGHT |= {"type": "object", "additionalProperties": False}
HUES = ("red", "réd", "green")
LONG = 400  # tokens: more than any text of LIGHT has


@pytest.fixture(scope="module")
def ensemble() -> Ensemble:
    pytest.importorskip("llguidance")
    return make(1, 2, 3)


def is_light(text: str) -> bool:
    light = json.loads(text)
    return list(light) == ["on", "hue"] and isinstance(light["on"], bool) and light["hue"] in HUES


@given(how=HOW)
def test_an_answer_follows_its_schema_in_every_mode(ensemble: Ensemble, how: dict[str, Any]) -> None:
    _, end = decoded(ensemble, json_schema=LIGHT, **{**how, "max_new_tokens": LONG})
    assert end.reason is FinishReason.STOP
    assert is_light(end.text)


@given(num=st.integers(1, 20), is_forced=st.booleans(), how=HOW)
def test_an_answer_goes_on_under_its_schema(ensemble: Ensemble, num: int, is_forced: bool, how: dict[str, Any]) -> None:
    assert_goes_on(ensemble, num, is_forced=is_forced, how={**how, "json_schema": LIGHT, "logit_bias": {3: -2.0}})


@pytest.mark.parametrize("so_far", ["", '"', '"r', '"ré', '"gre', '"green"'])
def test_just_the_tokens_that_can_go_on_are_allowed(so_far: str) -> None:
    pytest.importorskip("llguidance")
    pieces = [bytes([byte]) for byte in range(256)]
    pieces += [b'"r', b"re", b'red"', b'"red"', b'"red" ', b"green", b"en", "é".encode(), "éd".encode(), b'd"', b'n"']
    union = UnionVocabulary(pieces)
    constraint = Grammars(union).of({"enum": list(HUES)})
    text, texts = so_far.encode(), [f'"{hue}"'.encode() for hue in HUES]
    rest = text
    while rest:
        constraint.note(union.longest(rest))
        rest = rest[len(union.token(union.longest(rest))) :]
    constraint = constraint.fork()  # as it was
    for num_bytes in (None, *range(len(text) + 1)):  # earlier places too, inside tokens as well
        by_hand = {t for t in union.tokens if any(whole.startswith(text[:num_bytes] + t) for whole in texts)}
        allowed = {union.token(token_id) for token_id in np.flatnonzero(constraint.allowed_U(num_bytes)).tolist()}
        assert allowed == (by_hand or {b""})  # b"" is END


def test_members_that_find_all_of_it_impossible_write_it() -> None:
    models = [FixedModel(name, {b" the": 0.9, b"": 0.1}) for name in ("a", "b")]
    sure = ensemble_of(models, member=InlineMember)
    for how in ({}, {"temperature": 1.0}, {"mode": "gate"}):
        assert is_light(decoded(sure, json_schema=LIGHT, max_new_tokens=LONG, **how)[1].text)


def test_the_trace_tells_of_what_the_members_said(ensemble: Ensemble) -> None:
    free, _ = decoded(ensemble, mode="every-step", max_new_tokens=1)
    held, _ = decoded(ensemble, mode="every-step", max_new_tokens=1, json_schema=LIGHT)
    assert held[0].top == free[0].top
    assert held[0].token.startswith(b"{")
    assert held[0].prob < free[0].prob


def test_where_nothing_is_left_it_says_so(ensemble: Ensemble) -> None:
    begins = [token for token in ensemble.union.tokens if b"true".startswith(token)]
    bias = dict.fromkeys((ensemble.union.ids[token] for token in begins), -100)
    _, end = decoded(ensemble, json_schema={"const": True}, logit_bias=bias)
    assert (end.reason, end.is_at_odds, end.num_tokens) == (FinishReason.ERROR, True, 0)
    assert end.detail == "logit_bias: rules out every token that could be written here"


def test_the_digest_tells_what_constrained_the_answer(ensemble: Ensemble) -> None:
    found = {}
    for bias in ({}, {5: 0.0}, {6: 0.0}):
        steps, end = decoded(ensemble, logit_bias=bias)
        found[end.digest] = [step.token for step in steps]
    assert len(found) == 3
    assert len({b"".join(tokens) for tokens in found.values()}) == 1


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


WIDE = {"anyOf": [{"type": "object", "properties": {f"a{i}_{n}": nested(0) for i in range(8)}} for n in range(100)]}

PATTERNS = [{"type": "string", "pattern": f".*a.{{{n}}}"} for n in range(13)]
CHAIN = {f"p{n}": {**pattern, "$ref": f"#/$defs/p{n + 1}"} for n, pattern in enumerate(PATTERNS)} | {"p13": {}}
FORMATS = [{"format": "date-time"}, {"format": "uri"}]


def linked(num: int, name: str = "#/$defs/d") -> dict[str, Any]:
    """Arrays in arrays, ten by each reference. 200 references ended a process."""
    parts: dict[str, Any] = {f"d{num}": {"type": "boolean"}}
    for n in range(num):
        parts[f"d{n}"] = {"$ref": f"{name}{n + 1}"}
        for _ in range(10):
            parts[f"d{n}"] = {"type": "array", "items": parts[f"d{n}"]}
    return {"$defs": parts, "$ref": "#/$defs/d0"}


def open_objects(num: int, num_properties: int) -> list[dict[str, Any]]:
    return [{"properties": {f"{n}_{i}": {} for i in range(num_properties)}} for n in range(num)]


def named_by_patterns(num: int) -> list[dict[str, Any]]:
    return [{"patternProperties": {f"^a{n}$": {}}} for n in range(num)]


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "nope"}, "Invalid type"),
        ({"type": "string", "enum": [1]}, "Unsatisfiable"),
        ({"$ref": "#"}, "no text fits it"),
        ({"$ref": "http://127.0.0.1:9/x.json"}, "does not fetch"),
        ({"$ref": "file:///etc/passwd"}, "does not fetch"),
        ({"type": "string", "pattern": "("}, "unclosed group"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"not": {"type": "string"}}, "Unimplemented"),
        ({"const": float("nan")}, "invalid JSON"),
        ({"const": {1, 2}}, "invalid JSON"),
        (nested(100), "nested more than"),
        ({"description": "x" * 70_000}, "at most 65,536"),
        (WIDE, "is too complex"),
        ({"type": "object", "properties": {f"p{n}": {} for n in range(2000)}}, "is too complex"),
        ({"prefixItems": open_objects(4, 300)}, "is too complex"),
        ({"required": [f"p{n}" for n in range(5500)]}, "is too complex"),
        (linked(200), "is too complex"),
        (linked(200, "#/%24defs/d"), "is too complex"),
        ({"allOf": named_by_patterns(1000)}, "is too complex"),
        ({"prefixItems": FORMATS * 500}, "is too complex"),
        ({"allOf": PATTERNS}, "is too complex"),
        ({"allOf": [{"properties": {"a": pattern}} for pattern in PATTERNS]}, "is too complex"),
        ({"$defs": CHAIN, "$ref": "#/$defs/p0"}, "is too complex"),
        ({"type": "integer", "multipleOf": 49_999}, "is too complex"),
        ({"type": "integer", "multipleOf": True}, "multipleOf"),
        ({"allOf": [{"multipleOf": multiple} for multiple in (0.0997, 9.91)]}, "is too complex"),
        ({"multipleOf": 997, "anyOf": [{"multipleOf": 9.91}]}, "is too complex"),
        ({"$defs": {"unused": {"multipleOf": 0}}, "allOf": [{}, {"multipleOf": 49_999}]}, "is too complex"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused(ensemble: Ensemble, schema: dict[str, Any], why: str) -> None:
    with pytest.raises(RequestError) as refusal:
        ensemble.request("Hello", ensemble.config.settings_from({"json_schema": schema}))
    assert refusal.value.field == "json_schema"
    assert why in refusal.value.message
    assert len(refusal.value.message) < 300
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"},
        {"type": "string", "pattern": "^(a+)+$"},
        {"type": "string", "pattern": "(.*a){1,200}b(.*c){1,200}"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 1_000_000},
        {"properties": {f"p{n}": {"type": "string"} for n in range(1000)}, "required": [f"p{n}" for n in range(1000)]},
        {"const": None, "default": None},
        linked(40),
        {"prefixItems": open_objects(20, 100)},
        {"prefixItems": named_by_patterns(50)},
        {"prefixItems": FORMATS * 100},
        {"properties": {f"p{n}": pattern for n, pattern in enumerate(PATTERNS)}},
        {"anyOf": PATTERNS},
        {"type": "object", "properties": {f"p{n}": {"multipleOf": float(f"1e{n}")} for n in range(-7, 9)}},
        {},
    ],
)
def test_a_hard_schema_is_followed_or_cut(ensemble: Ensemble, schema: dict[str, Any]) -> None:
    _, end = decoded(ensemble, json_schema=schema, max_new_tokens=12)
    assert end.reason in (FinishReason.STOP, FinishReason.LENGTH), end.detail


def test_without_llguidance_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(RequestError, match="pip install"):
        make(1).request("Hello", Settings(gate="m1", json_schema={}))


# --- biases


@given(
    probs=st.lists(st.floats(0, 1, width=32), min_size=4, max_size=8).filter(lambda probs: sum(probs[:2]) > 0.01),
    bias=st.dictionaries(st.integers(2, 3), st.floats(-99, 99), min_size=1),
)
def test_a_bias_is_added_to_log_probabilities(probs: list[float], bias: dict[int, float]) -> None:
    probs_U = torch.tensor(probs) / sum(probs)
    before = probs_U.clone()
    weights = [p * float(np.exp(bias.get(i, 0.0))) for i, p in enumerate(probs_U.tolist())]
    found = TokenBias(bias)(probs_U)
    assert torch.allclose(found, torch.tensor(weights, dtype=torch.float64).div(sum(weights)).float(), atol=1e-6)
    assert torch.equal(probs_U, before)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_two_ids_of_one_token_the_strongest_bias_counts(
    ensemble: Ensemble, order: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemberTokenizer, "in_union", lambda _, token_id: 7 if token_id < 3 else None)
    bias = {token_id: (-100.0, 5.0)[token_id - 1] for token_id in order} | {3: 1.0}
    request = ensemble.request("Hello", ensemble.config.settings_from({"logit_bias": bias}), alone="m1")
    assert request.bias is not None
    probs_U = torch.full((9,), 1 / 9)
    assert (request.bias.ids, float(request.bias(probs_U)[7])) == ([7], 0.0)


def test_the_ends_of_the_scale_are_absolute() -> None:
    probs_U = torch.tensor([0.5, 0.3, 1e-40, 0.2, 0.0])
    assert TokenBias({0: -100})(probs_U)[0] == 0
    assert TokenBias({0: 0.0, 1: 0.5}).ids == [1], "a bias of 0 is none"
    assert TokenBias({2: 100, 0: 99})(probs_U).tolist() == [0, 0, 1, 0, 0]
    assert TokenBias({1: 100, 3: 100})(probs_U).tolist() == pytest.approx([0, 0.6, 0, 0.4, 0])
    assert TokenBias({4: 100})(probs_U).tolist() == pytest.approx(probs_U.tolist())  # it cannot be written
    with pytest.raises(ConstraintError, match="logit_bias"):
        TokenBias(dict.fromkeys(range(4), -100))(probs_U)


def test_a_member_alone_has_ids_of_its_own() -> None:
    ensemble = make(1, 2)
    vocabulary = ensemble.members["m1"].mapping.vocabulary
    own = vocabulary.token_bytes.index(b"model")
    [end] = vocabulary.end_ids
    settings = ensemble.config.settings_from({"logit_bias": {own: 100}, "max_new_tokens": 3})
    assert steps_and_end(ensemble.generate("Hello", settings, alone="m1"))[1].text == "model" * 3
    settings = ensemble.config.settings_from({"logit_bias": {end: 100, 257: -100}})  # 257 is a control token
    _, finished = steps_and_end(ensemble.generate("Hello", settings, alone="m1"))
    assert (finished.reason, finished.text) == (FinishReason.STOP, "")
