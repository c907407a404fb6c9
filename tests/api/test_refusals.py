"""What cannot be answered is refused in one sentence, whole or streamed."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.site import ASK, BODIES, PROMPT, Site, chat_body, refusal_of
from tests.services.mirror.test_lines import HOSTILE, places, text_of

JSON = {"Content-Type": "application/json"}
UNSUPPORTED, INVALID, TOO_LONG = "unsupported_parameter", "invalid_value", "context_length_exceeded"


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", **fields}]}


def form(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "one", "schema": schema}}}


def by_name(kind: str, code: str, *some: dict[str, Any]) -> list[tuple[str, dict[str, Any], str, str]]:
    """Requests of a kind that are refused for their first field."""
    return [(kind, fields, next(iter(fields)), code) for fields in some]


def of_gac(**settings: Any) -> dict[str, Any]:
    return {"gac": {"settings": settings}}


WRONG_SCHEMAS = [{"type": "nope"}, {"$ref": "#"}, {"type": "string", "pattern": "("}, {"enum": ["x" * 70_000]}]
WRONG_SCHEMAS += [{"type": "object", "properties": {f"p{number}": {} for number in range(1500)}}]


@pytest.mark.parametrize(
    ("kind", "fields", "param", "code"),
    [
        *by_name("chat", UNSUPPORTED, {"tools": [{"type": "function"}]}, {"frequency_penalty": 0.5}),
        *by_name("chat", UNSUPPORTED, {"best_of": 2}, {"store": 0}),
        *by_name("text", UNSUPPORTED, {"best_of": True}, {"store": True}),
        *by_name("response", UNSUPPORTED, {"tools": [{"type": "web_search"}]}, {"previous_response_id": "resp_1"}),
        *by_name("chat", INVALID, {"colour": 1}, {"messages": []}, message(content=" "), message(content=None)),
        ("chat", message(content=[{"type": "image_url"}]), "messages.0.content", INVALID),
        ("chat", {"messages": [{"role": "tool", "content": "4"}]}, "messages.0.role", INVALID),
        *by_name("response", INVALID, {"input": " "}, {"input": []}, {"max_output_tokens": 0}),
        *by_name("response", INVALID, {"input": [{"role": "user", "content": "x"}] * 10_001}),
        ("response", {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content", INVALID),
        ("response", {"metadata": {"a": "x" * 513}}, "metadata.a", INVALID),
        *by_name("chat", TOO_LONG, message(content="x" * 5000)),
        *by_name("text", TOO_LONG, {"prompt": "x" * 5000}, {"prompt": [65] * 5000}),
        *by_name("response", TOO_LONG, {"input": "x" * 5000}),
        *by_name("text", INVALID, *({"prompt": ids} for ids in ([1, 100_000], [-1], [2**70], [1.5], [[]] * 1000))),
        *(("text", {"prompt": ["a"] * 100, "n": 2}, None, INVALID), ("chat", {"top_logprobs": 3}, None, INVALID)),
        *by_name("chat", INVALID, {"n": 1000}, {"stop": ["x"] * 10_000}, {"max_tokens": 0}, {"max_tokens": "8"}),
        ("chat", {"stop": "x" * 300}, "stop.0", INVALID),
        *by_name("chat", INVALID, *({"temperature": value} for value in (-1, 0.001))),
        *by_name("chat", INVALID, {"top_logprobs": 21, "logprobs": True}),
        ("chat", {"stream_options": {"include_obfuscation": 0}}, "stream_options.include_obfuscation", INVALID),
        *(("chat", of_gac(combine="none such"), "combine", INVALID), ("chat", of_gac(colour=1), "colour", INVALID)),
        ("text", {"echo": True, "logprobs": 1, **of_gac(combine="unite")}, "combine", INVALID),
        ("chat", of_gac(weights={"a": 1}, weight_params={"decay": 0.5}), "weight_params.decay", INVALID),
        *by_name("chat", INVALID, {"max_tokens": None, **of_gac(max_new_tokens=0)}),
        *by_name("chat", INVALID, {"logit_bias": {str(number): 1 for number in range(1025)}}),
        *by_name("chat", INVALID, {"response_format": {"type": "json_schema"}}, *map(form, WRONG_SCHEMAS)),
        *by_name("chat", INVALID, {"response_format": {**form({})["response_format"], "type": "json_object"}}),
        ("chat", {"response_format": {"type": "grammar"}}, "response_format.type", INVALID),
        ("chat", form([]), "response_format.json_schema.schema", INVALID),
        ("response", {"text": {"format": {"type": "json_schema", "name": "one"}}}, "text.format", INVALID),
    ],
)
def test_what_cannot_be_is_refused(here: Site, kind: str, fields: dict[str, Any], param: str | None, code: str) -> None:
    for stream in (False, True):
        status, error = refusal_of(here.ask(kind, **fields, stream=stream))
        assert (status, error["param"], error["code"]) == (400, param, code)
        assert error["message"].startswith(f"{param or 'body'}: ")
        assert len(error["message"]) < 250
        assert "\n" not in error["message"]
    assert here.num_under_way == 0


SETTINGS: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "seed": 1, "stop": ["x"], "n": 1, "logprobs": None}
SETTINGS |= {"gac": {"settings": {"mode": "gate"}}}
WHOLE: dict[str, dict[str, Any]] = {
    "chat": {"messages": [*ASK, *ASK], "logit_bias": {"1": 1}, **form({"enum": [1]}), **SETTINGS},
    "text": {"prompt": [PROMPT, PROMPT], "echo": False, "stream_options": None, **SETTINGS},
    "response": {"input": [*ASK], "instructions": "Be brief.", "metadata": {"a": "b"}, "temperature": 0.5},
}


@given(kind=st.sampled_from([*WHOLE]), data=st.data())
def test_any_body_is_answered_or_refused_in_a_sentence(here: Site, kind: str, data: st.DataObject) -> None:
    path, least = BODIES[kind]
    for _ in range(5):
        body = deepcopy({"model": "gac", **least, **WHOLE[kind], "stream": False})
        for _ in range(data.draw(st.integers(1, 2))):
            *before, last = data.draw(st.sampled_from(places(body)))
            at: Any = body
            for part in before:
                at = at[part]
            at[last] = data.draw(HOSTILE)
        answer = here.client.post(path, content=text_of(body).encode(), headers=JSON)
        if answer.status_code != 200:
            status, error = refusal_of(answer)
            assert (status in (400, 404), "\n" in error["message"]) == (True, False), (body, error)
    assert here.num_under_way == 0


def test_an_unknown_model_is_not_found(here: Site) -> None:
    status, error = refusal_of(here.chat(model="gpt-9"))
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")


NO_OBJECTS = [b"", b"[]", b"3", b"{", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud800", "b": NaN}', b"\xff"]
NO_OBJECTS += [b"[" * 100_000, b'{"a": "\\ud800", "b": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"]


@pytest.mark.parametrize("body", NO_OBJECTS)
def test_what_is_no_json_object_is_refused(here: Site, body: bytes) -> None:
    status, error = refusal_of(here.client.post("/v1/chat/completions", content=body))
    assert (status, error["param"]) == (400, None)


@pytest.mark.parametrize("depth", [150, 3000, 100_000])
def test_a_deep_schema_is_refused(here: Site, depth: int) -> None:
    body = json.dumps(chat_body(**form({"deep": 0}))).replace("0}", "[" * depth + "]" * depth + "}")
    assert refusal_of(here.client.post("/v1/chat/completions", content=body, headers=JSON))[0] == 400


@pytest.mark.parametrize(
    "bias",
    ['{"999999": 1}', '{"-1": 1}', '{"a": 1}', '{"1": 101}', '{"1": NaN}', '{"1": "5"}', '{"1": null}', "[1]", '"1"'],
)
def test_a_bad_bias_is_refused(here: Site, bias: str) -> None:
    body = json.dumps(chat_body()).removesuffix("}") + f', "logit_bias": {bias}}}'
    status, error = refusal_of(here.client.post("/v1/chat/completions", content=body, headers=JSON))
    assert (status, "\n" in error["message"]) == (400, False)


def test_what_is_no_request_is_told_in_the_api_s_form(here: Site) -> None:
    path = "/v1/chat/completions"
    posted = here.client.post(path, data={"model": "gac"}), here.client.post(path, content=b"x" * 10_000_000)
    got = here.client.get("/v1/nothing"), here.client.get(path)
    assert [refusal_of(answer)[0] for answer in (*posted, *got)] == [415, 413, 404, 405]


def test_where_no_token_is_left_it_is_the_requests_fault(here: Site) -> None:
    pytest.importorskip("llguidance")
    union = here.service.members.ensemble().union
    bias = {str(union.ids[token]): -100 for token in union.tokens if b"true".startswith(token)}
    fields = {"messages": ASK, "logit_bias": bias, **form({"const": True})}
    status, error = refusal_of(here.chat(**fields))
    assert (status, error["code"]) == (400, INVALID)
    assert error["message"] in here.chat(**fields, stream=True).text
