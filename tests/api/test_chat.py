"""Chats: what is asked is what answers, whole or streamed, and what cannot be is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text as sql

from gac_app.decoding.trace import TokenEvent
from tests.api.site import ASK, Site, events_of, refusal_of
from tests.fakes import FakeModel, Fault
from tests.services.house import until

Sites = Callable[..., Site]


def expected(site: Site, alone: str | None = None, **settings: Any) -> tuple[str, list[TokenEvent], str]:
    """Text, tokens and digest as the engine gives them."""
    config = site.service.config
    changed = config.settings_from({"max_new_tokens": 8, **settings})
    *tokens, end = site.service.members.ensemble().generate(ASK[0]["content"], changed, alone=alone)
    return end.text, tokens, end.digest  # type: ignore[union-attr,return-value]


@pytest.mark.parametrize(
    ("model", "alone", "settings"),
    [
        ("gac", None, {}),
        ("gac/gate", None, {"mode": "gate"}),
        ("gac/every-step", None, {"mode": "every-step"}),
        ("b", "b", {}),
    ],
)
def test_a_model_answers_as_the_engine(site: Sites, model: str, alone: str | None, settings: dict[str, Any]) -> None:
    here = site()
    answer = here.chat(model=model, gac={}).json()
    text, tokens, digest = expected(here, alone, **settings)
    choice = answer["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"], choice["gac"]["digest"]) == (text, "length", digest)
    assert [step["winner"] for step in choice["gac"]["steps"]] == [event.step.winner for event in tokens]
    assert answer["usage"]["completion_tokens"] == 8
    assert here.num_under_way == 0


def test_a_stream_says_the_same(site: Sites) -> None:
    here = site()
    whole = here.chat(logprobs=True, top_logprobs=3, gac={}).json()["choices"][0]
    events = events_of(here.chat(stream=True, logprobs=True, top_logprobs=3, gac={}))
    choices = [event["choices"][0] for event in events]
    assert "".join(one["delta"].get("content", "") for one in choices) == whole["message"]["content"]
    assert [one for choice in choices if choice["logprobs"] for one in choice["logprobs"]["content"]] == (
        whole["logprobs"]["content"]
    )
    assert choices[0]["delta"]["role"] == "assistant"
    assert [one["finish_reason"] for one in choices[:-1]] == [None] * (len(choices) - 1)
    assert (choices[-1]["finish_reason"], choices[-1]["gac"]["digest"]) == ("length", whole["gac"]["digest"])
    assert all("usage" not in event for event in events)


def test_the_usage_comes_last_where_it_is_asked_for(site: Sites) -> None:
    *others, last = events_of(site().chat(stream=True, stream_options={"include_usage": True}))
    assert all(event["usage"] is None and event["choices"] for event in others)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + 8


def test_choices_differ_by_their_seeds(site: Sites) -> None:
    here = site()
    answer = here.chat(n=5, temperature=1.0, seed=7).json()
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert [choice["index"] for choice in answer["choices"]] == list(range(5))
    assert texts == [expected(here, temperature=1.0, seed=seed)[0] for seed in range(7, 12)]
    assert answer["usage"]["completion_tokens"] == 40
    assert answer["usage"]["prompt_tokens"] == here.chat().json()["usage"]["prompt_tokens"]


def test_without_a_seed_each_answer_is_drawn_anew(site: Sites) -> None:
    here = site()
    assert len({here.chat(temperature=1.0).json()["choices"][0]["message"]["content"] for _ in range(4)}) > 1


def test_a_stop_string_ends_the_answer(site: Sites) -> None:
    here = site()
    text = expected(here)[0]
    answer = here.chat(stop=text[3:6]).json()["choices"][0]
    assert (answer["message"]["content"], answer["finish_reason"]) == (text[:3], "stop")


def test_a_request_s_settings_go_before_the_model_s(site: Sites) -> None:
    here = site()
    answer = here.chat(gac={"settings": {"mode": "every-step", "max_new_tokens": 3}, "steps": False}).json()
    [choice] = answer["choices"]
    assert (choice["gac"]["num_ensembled"], choice["gac"]["steps"]) == (8, [])


def test_nulls_and_what_changes_nothing_are_taken(site: Sites) -> None:
    nothing = {"tools": [], "tool_choice": "none", "frequency_penalty": 0, "logit_bias": {}, "stop": None, "n": None}
    nothing |= {"user": "somebody", "metadata": {"a": "b"}, "store": False, "parallel_tool_calls": True, "best_of": 1}
    nothing |= {"min_tokens": 4, "ignore_eos": True, "reasoning_effort": "low", "verbosity": "high"}
    nothing |= {"chat_template_kwargs": {"enable_thinking": False}, "messages": [{**ASK[0], "name": "somebody"}]}
    here = site()
    assert here.chat(**nothing).json()["choices"] == here.chat().json()["choices"]


def test_an_answer_without_text_is_taken(site: Sites) -> None:
    here = site()
    told = [
        here.chat(messages=[*ASK, {"role": "assistant", **empty}, *ASK]).json()["choices"]
        for empty in ({"content": ""}, {"content": None, "tool_calls": []}, {})
    ]
    assert told[1:] == told[:1] * 2
    status, error = here.refusal(messages=[{"role": "user", "content": None}])
    assert (status, error["message"][:18]) == (400, "messages: is empty")


def test_more_likely_tokens_may_be_asked_for_than_come(site: Sites) -> None:
    here = site()
    some, more = (here.chat(logprobs=True, top_logprobs=num).json()["choices"] for num in (8, 20))
    assert some == more
    assert len(more[0]["logprobs"]["content"][0]["top_logprobs"]) == 8


def test_parts_and_developers_are_text_and_system(site: Sites) -> None:
    here = site()
    parts = [{"type": "text", "text": "Name three "}, {"type": "text", "text": "colours"}]
    one = here.chat(messages=[{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]).json()
    other = here.chat(messages=[{"role": "system", "content": "Be brief."}, *ASK]).json()
    assert one["choices"] == other["choices"]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "unsupported_parameter"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content", "invalid_value"),
        ({"messages": [{"role": "tool", "content": "4"}]}, "messages.0.role", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": "x" * 5000}]}, "messages", "context_length_exceeded"),
        ({"colour": 1}, "colour", "invalid_value"),
        ({"n": 1000}, "n", "invalid_value"),
        ({"stop": ["x"] * 10_000}, "stop", "invalid_value"),
        ({"stop": "x" * 300}, "stop", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": "8"}, "max_tokens", "invalid_value"),
        ({"temperature": -1}, "temperature", "invalid_value"),
        ({"temperature": 0.001}, "temperature", "invalid_value"),
        ({"top_logprobs": 3}, None, "invalid_value"),
        ({"best_of": 2}, "best_of", "unsupported_parameter"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "invalid_value"),
        ({"gac": {"settings": {"combine": "none such"}}}, "combine", "invalid_value"),
        ({"gac": {"settings": {"colour": 1}}}, "colour", "invalid_value"),
    ],
)
def test_what_cannot_be_is_refused(site: Sites, fields: dict[str, Any], param: str | None, code: str) -> None:
    here = site()
    for extra in ({}, {"stream": True}):
        status, error = here.refusal(**fields, **extra)
        assert (status, error["type"], error["param"], error["code"]) == (400, "invalid_request_error", param, code)
        assert len(error["message"]) < 250
    assert here.num_under_way == 0


def test_an_unknown_model_is_not_found(site: Sites) -> None:
    status, error = site().refusal(model="gpt-9")
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"temperature": NaN}', b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(site: Sites, body: bytes) -> None:
    status, error = refusal_of(site().client.post("/v1/chat/completions", content=body))
    assert (status, error["type"]) == (400, "invalid_request_error")


def test_a_body_is_json(site: Sites) -> None:
    answer = site().client.post("/v1/chat/completions", data={"model": "gac"})
    assert refusal_of(answer)[0] == 415


def test_a_body_of_ten_megabytes_is_refused(site: Sites) -> None:
    answer = site().client.post("/v1/chat/completions", content=b"x" * 10_000_000)
    assert refusal_of(answer)[0] == 413


@pytest.mark.parametrize("stream", [False, True])
def test_a_member_that_fails_is_named(site: Sites, stream: bool) -> None:
    models = [FakeModel("a", 1), FakeModel("b", 2, fault=Fault("raise", from_read=3))]
    here = site(models)
    answer = here.chat(model="gac/every-step", stream=stream)
    if stream:
        *told, last = events_of(answer)
        assert (answer.status_code, len(told) > 1) == (200, True)
        error = last["error"]
    else:
        status, error = refusal_of(answer)
        assert status == 500
    assert (error["type"], error["code"]) == ("server_error", "member_failed")
    assert error["message"].startswith("b: ")
    until(lambda: here.num_under_way == 0)  # a stream tells the failure before its run is over


def test_while_members_load_it_says_so(site: Sites) -> None:
    here = site()
    here.service.members._ensemble = None
    answer = here.chat()
    assert (refusal_of(answer)[0], answer.headers["retry-after"]) == (503, "5")
    assert here.client.get("/v1/models").json()["data"][0]["max_model_len"] is None
    here.service.members.use(site().service.members.ensemble())


def test_models_are_listed_and_found(site: Sites) -> None:
    here = site(arena={"contestants": [{"name": "half", "settings": {"threshold": 0.7}}, {"name": "b", "member": "b"}]})
    listed = [model["id"] for model in here.client.get("/v1/models").json()["data"]]
    assert listed == ["gac", "gac/gate", "gac/every-step", "gac/agreement", "gac/half", "a", "b"]
    for name in listed:
        assert here.client.get(f"/v1/models/{name}").json()["id"] == name
    assert refusal_of(here.client.get("/v1/models/c"))[0] == 404


def test_every_answer_has_the_request_s_id(site: Sites) -> None:
    here = site()
    own = here.client.get("/v1/models", headers={"X-Request-Id": "mine-7"})
    assert own.headers["x-request-id"] == "mine-7"
    refused = here.client.post("/v1/chat/completions", json={}, headers={"X-Request-Id": "a" * 200})
    assert refused.headers["x-request-id"].startswith("req_")


def test_nothing_is_stored(site: Sites) -> None:
    here = site()
    here.chat()
    with here.service._store.engine.connect() as connection:
        assert connection.execute(sql("select count(*) from run")).scalar() == 0


def test_unknown_addresses_are_in_the_api_s_form(site: Sites) -> None:
    here = site()
    assert refusal_of(here.client.get("/v1/nothing"))[0] == 404
    assert refusal_of(here.client.get("/v1/chat/completions"))[0] == 405
