"""Answers that follow a schema, and biases, over the API."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest

from gac_app.decoding.constraints import Grammars
from tests.api.site import ASK, Site, chat_body, events_of, refusal_of
from tests.fakes import FakeModel
from tests.server.site import served
from tests.services.house import until

llguidance = pytest.importorskip("llguidance")

Sites = Callable[..., Site]
LIGHT = {"properties": {"on": {"type": "boolean"}, "hue": {"enum": ["red", "green"]}}, "required": ["on", "hue"]}
LIGHT |= {"type": "object", "additionalProperties": False}
FORMAT = {"type": "json_schema", "json_schema": {"name": "light", "schema": LIGHT, "strict": True}}


def is_light(text: str) -> bool:
    return list(json.loads(text)) == ["on", "hue"]


def form(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "one", "schema": schema}}


@pytest.mark.parametrize("model", ["gac", "gac/gate", "gac/every-step", "gac/agreement", "b"])
def test_a_chat_follows_a_schema(site: Sites, model: str) -> None:
    here = site()
    fields = {"model": model, "response_format": FORMAT, "max_tokens": 300, "logprobs": True, "gac": {}}
    answer = here.chat(**fields, n=2, temperature=1.0, seed=3).json()
    assert all(is_light(choice["message"]["content"]) for choice in answer["choices"])
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"stop"}
    [first, second] = (choice["gac"]["digest"] for choice in answer["choices"])
    again = here.chat(**fields, temperature=1.0, seed=4).json()["choices"][0]
    assert again["gac"]["digest"] == second != first
    written = "".join(one["token"] for one in again["logprobs"]["content"])
    assert written == again["message"]["content"]


def test_a_stream_follows_it_too(site: Sites) -> None:
    here = site()
    events = events_of(here.chat(response_format=FORMAT, max_tokens=300, stream=True))
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert is_light(text)
    assert text == here.chat(response_format=FORMAT, max_tokens=300).json()["choices"][0]["message"]["content"]


def test_a_response_follows_it_too(site: Sites) -> None:
    body = {"model": "gac", "input": "A light?", "max_output_tokens": 300}
    body["text"] = {"format": {"type": "json_schema", "name": "light", "schema": LIGHT}}
    answer = site().client.post("/v1/responses", json=body).json()
    assert answer["status"] == "completed"
    assert is_light(answer["output"][0]["content"][0]["text"])


def test_any_object_will_do(site: Sites) -> None:
    choice = site().chat(response_format={"type": "json_object"}, max_tokens=6).json()["choices"][0]
    assert choice["message"]["content"].startswith("{")
    assert choice["finish_reason"] == "length"


def test_text_is_what_there_is_without(site: Sites) -> None:
    here = site()
    answers = [here.chat(**fields).json() for fields in ({}, {"response_format": {"type": "text"}}, {"logit_bias": {}})]
    assert len({answer["choices"][0]["message"]["content"] for answer in answers}) == 1


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"type": "json_schema"}, "response_format"),
        ({"type": "json_object", "json_schema": {"name": "x", "schema": {}}}, "response_format"),
        ({"type": "grammar"}, "response_format.type"),
        ({"type": "json_schema", "json_schema": {"schema": {}}}, "response_format.json_schema.name"),
        ({"type": "json_schema", "json_schema": {"name": "no name", "schema": {}}}, "response_format.json_schema.name"),
        (form([]), "response_format.json_schema.schema"),
        (form({"type": "nope"}), "response_format"),
        (form({"$ref": "#"}), "response_format"),
        (form({"type": "string", "pattern": "("}), "response_format"),
        (form({"enum": ["x" * 70_000]}), "response_format"),
        (form({"properties": {f"p{n}": {} for n in range(1500)}, "type": "object"}), "response_format"),
    ],
)
def test_a_bad_schema_is_refused(site: Sites, asked: dict[str, Any], param: str) -> None:
    here = site()
    status, error = here.refusal(response_format=asked)
    assert (status, error["code"], error["param"]) == (400, "invalid_value", param)
    assert "\n" not in error["message"]
    assert here.num_under_way == 0


def test_a_deep_schema_is_refused(site: Sites) -> None:
    here = site()
    for depth in (150, 3000, 100_000):
        body = json.dumps(chat_body(response_format=form({"deep": 0}))).replace("0}", "[" * depth + "]" * depth + "}")
        sent = here.client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
        assert refusal_of(sent)[0] == 400
    assert here.chat().status_code == 200


def test_a_schema_of_ten_megabytes_is_refused(site: Sites) -> None:
    assert site().refusal(response_format=form({"enum": ["x" * 10_000_000]}))[0] == 413


def test_a_thousand_properties_are_followed(site: Sites) -> None:
    names = [f"p{number}" for number in range(1000)]
    schema = {"type": "object", "properties": {name: {"type": "boolean"} for name in names}, "required": names}
    choice = site().chat(response_format=form(schema), max_tokens=40).json()["choices"][0]
    assert re.sub(r"\s", "", choice["message"]["content"]).startswith('{"p0":')


def test_schemas_are_read_in_threads(site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    loops, of = [], Grammars.of

    def noted(self: Grammars, schema: dict[str, Any]) -> Any:
        with suppress(RuntimeError):  # there is none
            loops.append(asyncio.get_running_loop())
        return of(self, schema)

    monkeypatch.setattr(Grammars, "of", noted)
    assert site().chat(response_format=FORMAT).status_code == 200
    assert loops == []


def test_where_nothing_is_left_it_is_the_requests_fault(site: Sites) -> None:
    here = site()
    union = here.service.members.ensemble().union
    bias = {str(union.ids[token]): -100 for token in union.tokens if b"true".startswith(token)}
    status, error = here.refusal(response_format=form({"const": True}), logit_bias=bias)
    assert (status, error["code"]) == (400, "invalid_value")
    *_, last = events_of(here.chat(response_format=form({"const": True}), logit_bias=bias, stream=True))
    assert last["error"]["message"] == error["message"]


def test_a_bias_is_by_the_models_own_ids(site: Sites) -> None:
    here = site()
    ensemble = here.service.members.ensemble()
    own = ensemble.members["b"].mapping.vocabulary.token_bytes.index(b"model")
    for model, token_id in (("b", own), ("gac", ensemble.union.ids[b"model"])):
        answer = here.chat(model=model, logit_bias={str(token_id): 100}, max_tokens=3).json()
        assert answer["choices"][0]["message"]["content"] == "model" * 3
    body = {"model": "b", "prompt": "the", "max_tokens": 2, "logit_bias": {str(own): 100}}
    assert here.client.post("/v1/completions", json=body).json()["choices"][0]["text"] == "model" * 2


@pytest.mark.parametrize(
    "bias",
    ['{"999999": 1}', '{"-1": 1}', '{"a": 1}', '{"1": 101}', '{"1": NaN}', '{"1": "5"}', '{"1": null}', "[1]", '"1"'],
)
def test_a_bad_bias_is_refused(site: Sites, bias: str) -> None:
    body = json.dumps(chat_body()).removesuffix("}") + f', "logit_bias": {bias}}}'
    sent = site().client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    status, error = refusal_of(sent)
    assert status == 400
    assert "\n" not in error["message"]


def test_too_many_biases_are_refused(site: Sites) -> None:
    status, error = site().refusal(logit_bias={str(number): 1 for number in range(1025)})
    assert (status, error["param"]) == (400, "logit_bias")


def test_who_leaves_under_a_schema_ends_the_answer(site: Sites) -> None:
    models = [FakeModel("a", 1, delay_s=0.01), FakeModel("b", 2)]
    here = site(models)
    body = chat_body(response_format=form({"type": "array", "minItems": 10_000}), max_tokens=3000, stream=True)
    with served(here.host) as url, httpx.Client(base_url=url, timeout=30.0) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            while '"content":"[' not in next(lines):
                pass
        until(lambda: here.num_under_way == 0)
    assert len(models[0].batches) < 1000


def test_the_official_client_parses_a_model(site: Sites) -> None:
    openai, pydantic = pytest.importorskip("openai"), pytest.importorskip("pydantic")

    class Light(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        on: bool
        sizes: tuple[bool, bool]

    with served(site().host) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        fields: dict[str, Any] = {"model": "gac", "max_tokens": 300}
        answer = client.chat.completions.parse(messages=ASK, response_format=Light, **fields)
        assert isinstance(answer.choices[0].message.parsed, Light)
        response = client.responses.parse(model="gac", input="A light?", text_format=Light, max_output_tokens=300)
        assert isinstance(response.output_parsed, Light)
        with client.chat.completions.stream(messages=ASK, response_format=Light, **fields) as stream:
            stream.until_done()
            assert stream.get_final_completion().choices[0].message.parsed == answer.choices[0].message.parsed
