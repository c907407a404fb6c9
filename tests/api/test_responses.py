"""The Responses API, without state."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.api.site import ASK, Site, refusal_of
from tests.fakes import FakeModel, Fault

Sites = Callable[..., Site]
PROMPT = ASK[0]["content"]


def ask(here: Site, **fields: Any) -> httpx.Response:
    return here.client.post("/v1/responses", json={"model": "gac", "input": PROMPT, "max_output_tokens": 8, **fields})


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in answer.text.split("\n\n") if block]
    events = [json.loads(block["data"]) for block in blocks]
    assert [block["event"] for block in blocks] == [event["type"] for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def test_a_response_is_the_chat_s_answer(site: Sites) -> None:
    here = site()
    chat = here.chat().json()
    found = ask(here, gac={}, reasoning={"effort": "low"}, text={"verbosity": "low"}, service_tier="flex").json()
    assert found["output"][0]["content"][0]["text"] == chat["choices"][0]["message"]["content"]
    assert (found["status"], found["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert found["usage"]["input_tokens"] == chat["usage"]["prompt_tokens"]
    assert len(found["gac"]["steps"]) == found["usage"]["output_tokens"] == 8


def test_a_stream_ends_with_the_whole_response(site: Sites) -> None:
    here = site()
    whole = ask(here).json()
    events = events_of(ask(here, stream=True))
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert text == whole["output"][0]["content"][0]["text"]
    assert [event["type"] for event in events[:4]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert events[-1]["type"] == "response.incomplete"
    last = events[-1]["response"]
    assert last["output"][0]["content"] == whole["output"][0]["content"]
    assert last["usage"] == whole["usage"]


def test_items_and_instructions_are_a_chat(site: Sites) -> None:
    here = site()
    said = ask(here).json()["output"][0]
    items = [
        {"role": "user", "content": PROMPT},
        said,
        {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
    ]
    found = ask(here, input=items, instructions="Be brief.").json()
    text = said["content"][0]["text"]
    messages = [
        {"role": "system", "content": "Be brief."},
        *ASK,
        {"role": "assistant", "content": text},
        {"role": "user", "content": "x"},
    ]
    same = here.chat(messages=messages).json()["choices"][0]["message"]["content"]
    assert found["output"][0]["content"][0]["text"] == same


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools", "unsupported_parameter"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
        ({"store": True}, "store", "unsupported_parameter"),
        ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
        ({"input": " "}, "input", "invalid_value"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a", "invalid_value"),
        ({"input": "x" * 5000}, "input", "context_length_exceeded"),
    ],
)
def test_what_cannot_be_is_refused(site: Sites, fields: dict[str, Any], param: str, code: str) -> None:
    status, error = refusal_of(ask(site(), **fields))
    assert (status, error["param"], error["code"]) == (400, param, code)


@pytest.mark.parametrize(("number", "told"), [(0, "at least 1 item"), (10_001, "at most 10000 items")])
def test_a_list_of_items_is_judged_as_a_list(site: Sites, number: int, told: str) -> None:
    _, error = refusal_of(ask(site(), input=[{"role": "user", "content": "x"}] * number))
    assert told in error["message"]


def test_images_are_refused(site: Sites) -> None:
    items = [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]
    status, error = refusal_of(ask(site(), input=items))
    assert (status, "nothing else is supported" in error["message"]) == (400, True)


def test_a_member_that_fails_is_told(site: Sites) -> None:
    here = site([FakeModel("a", 1), FakeModel("b", 2, fault=Fault("raise", from_read=3))])
    assert refusal_of(ask(here, model="gac/every-step"))[0] == 500
    last = events_of(ask(here, model="gac/every-step", stream=True))[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"]["message"].startswith("b: ")
