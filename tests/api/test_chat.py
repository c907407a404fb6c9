"""Chats and responses: what is asked is what answers, and what cannot be is refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text as sql

from gac_app.decoding.trace import TokenEvent
from tests.api.site import ASK, Site, Sites, events_of, refusal_of
from tests.fakes import FakeModel

MODES = [("gac", {}), ("gac/gate", {"mode": "gate"}), ("gac/every-step", {"mode": "every-step"}), ("b", {})]


def expected(site: Site, alone: str | None = None, **settings: Any) -> tuple[str, list[TokenEvent], str]:
    """Text, tokens and digest as the engine gives them."""
    changed = site.service.config.settings_from({"max_new_tokens": 8, **settings})
    *tokens, end = site.service.members.ensemble().generate(ASK[0]["content"], changed, alone=alone)
    return end.text, tokens, end.digest  # type: ignore[union-attr,return-value]


@pytest.mark.parametrize(("model", "mode"), MODES)
def test_a_model_answers_as_the_engine(here: Site, model: str, mode: dict[str, Any]) -> None:
    answer = here.chat(model=model, gac={}).json()
    text, tokens, digest = expected(here, None if model.startswith("gac") else model, **mode)
    choice = answer["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"], choice["gac"]["digest"]) == (text, "length", digest)
    assert [step["winner"] for step in choice["gac"]["steps"]] == [event.step.winner for event in tokens]
    assert answer["usage"]["completion_tokens"] == 8
    assert here.num_under_way == 0


def test_choices_differ_by_their_seeds(here: Site) -> None:
    answer = here.chat(n=5, temperature=1.0, seed=7).json()
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert [choice["index"] for choice in answer["choices"]] == list(range(5))
    assert texts == [expected(here, temperature=1.0, seed=seed)[0] for seed in range(7, 12)]
    assert answer["usage"]["completion_tokens"] == 40
    assert answer["usage"]["prompt_tokens"] == here.chat().json()["usage"]["prompt_tokens"]


def test_without_a_seed_each_answer_is_drawn_anew(here: Site) -> None:
    assert len({here.chat(temperature=1.0).json()["choices"][0]["message"]["content"] for _ in range(4)}) > 1


def test_a_stop_string_ends_the_answer(here: Site) -> None:
    text = expected(here)[0]
    answer = here.chat(stop=text[3:6]).json()["choices"][0]
    assert (answer["message"]["content"], answer["finish_reason"]) == (text[:3], "stop")


def test_a_request_s_settings_go_before_the_model_s(here: Site) -> None:
    answer = here.chat(gac={"settings": {"mode": "every-step", "max_new_tokens": 3}, "steps": False}).json()
    [choice] = answer["choices"]
    assert (choice["gac"]["num_ensembled"], choice["gac"]["steps"]) == (8, [])


def test_nulls_and_what_changes_nothing_are_taken(here: Site) -> None:
    nothing = {"tools": [], "tool_choice": "none", "frequency_penalty": 0, "logit_bias": {}, "stop": None, "n": None}
    nothing |= {"user": "somebody", "metadata": {"a": "b"}, "store": False, "parallel_tool_calls": True, "best_of": 1}
    nothing |= {"min_tokens": 4, "ignore_eos": True, "reasoning_effort": "low", "verbosity": "high"}
    nothing |= {"chat_template_kwargs": {"enable_thinking": False}, "messages": [{**ASK[0], "name": "somebody"}]}
    assert here.chat(**nothing).json()["choices"] == here.chat().json()["choices"]


def test_an_answer_without_text_is_taken(here: Site) -> None:
    told = [
        here.chat(messages=[*ASK, {"role": "assistant", **empty}, *ASK]).json()["choices"]
        for empty in ({"content": ""}, {"content": None, "tool_calls": []}, {})
    ]
    assert told[1:] == told[:1] * 2


def test_more_likely_tokens_may_be_asked_for_than_come(here: Site) -> None:
    some, more = (here.chat(logprobs=True, top_logprobs=num).json()["choices"] for num in (8, 20))
    assert some == more
    assert len(more[0]["logprobs"]["content"][0]["top_logprobs"]) == 8


def test_while_members_load_it_says_so(site: Sites) -> None:
    here = site()
    here.service.members._ensemble = None
    answer = here.chat()
    status, error = refusal_of(answer)
    assert (status, error["code"], answer.headers["retry-after"]) == (503, "unavailable", "5")
    assert here.client.get("/v1/models").json()["data"][0]["max_model_len"] is None
    here.service.members.use(site().service.members.ensemble())


def test_models_are_listed_and_found(site: Sites) -> None:
    here = site(arena={"contestants": [{"name": "half", "settings": {"threshold": 0.7}}, {"name": "b", "member": "b"}]})
    listed = [model["id"] for model in here.client.get("/v1/models").json()["data"]]
    assert listed == ["gac", "gac/gate", "gac/every-step", "gac/agreement", "gac/half", "a", "b"]
    for name in listed:
        assert here.client.get(f"/v1/models/{name}").json()["id"] == name
    assert refusal_of(here.client.get("/v1/models/c"))[0] == 404


def test_a_system_has_the_room_of_its_smallest_member(site: Sites) -> None:
    here = site([FakeModel("a", 1, context_length=64), FakeModel("b", 2)])
    rooms = {model["id"]: model["max_model_len"] for model in here.client.get("/v1/models").json()["data"]}
    assert rooms["gac"] == rooms["a"] == 64 < rooms["b"]


def test_every_answer_has_the_request_s_id(here: Site) -> None:
    own = here.client.get("/v1/models", headers={"X-Request-Id": "mine-7"})
    assert own.headers["x-request-id"] == "mine-7"
    refused = here.client.post("/v1/chat/completions", json={}, headers={"X-Request-Id": "a" * 200})
    assert refused.headers["x-request-id"].startswith("req_")


def test_nothing_is_stored(here: Site) -> None:
    here.chat()
    with here.service._store.engine.connect() as connection:
        assert connection.execute(sql("select count(*) from run")).scalar() == 0


def ask(here: Site, **fields: Any) -> Any:
    return here.ask("response", **fields).json()


def test_a_response_is_the_chat_s_answer(here: Site) -> None:
    chat = here.chat().json()
    found = ask(here, gac={}, reasoning={"effort": "low"}, text={"verbosity": "low"}, service_tier="flex")
    assert found["output"][0]["content"][0]["text"] == chat["choices"][0]["message"]["content"]
    assert (found["status"], found["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert found["usage"]["input_tokens"] == chat["usage"]["prompt_tokens"]
    assert len(found["gac"]["steps"]) == found["usage"]["output_tokens"] == 8


def test_events_are_numbered_and_named(here: Site) -> None:
    answer = here.ask("response", stream=True)
    events = events_of(answer)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    named = [line.removeprefix("event: ") for line in answer.text.split("\n") if line.startswith("event: ")]
    assert named == [event["type"] for event in events]
    begun, ended = named[:4], named[-4:]
    assert begun[:2] == ["response.created", "response.in_progress"]
    assert begun[2:] == ["response.output_item.added", "response.content_part.added"]
    assert ended[:2] == ["response.output_text.done", "response.content_part.done"]
    assert ended[2:] == ["response.output_item.done", "response.incomplete"]


def test_items_and_instructions_are_a_chat(here: Site) -> None:
    said = ask(here)["output"][0]
    items = [*ASK, said, {"role": "user", "content": [{"type": "input_text", "text": one} for one in "xy"]}]
    found = ask(here, input=items, instructions="Be brief.")
    text = said["content"][0]["text"]
    for role, last in (("system", "xy"), ("developer", [{"type": "text", "text": one} for one in "xy"])):
        first, before = {"role": role, "content": "Be brief."}, {"role": "assistant", "content": text}
        chat = here.chat(messages=[first, *ASK, before, {"role": "user", "content": last}]).json()
        assert found["output"][0]["content"][0]["text"] == chat["choices"][0]["message"]["content"]
