"""The Responses API, without state."""

from __future__ import annotations

from typing import Any

from tests.api.site import ASK, PROMPT, Site, events_of


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
    items = [
        {"role": "user", "content": PROMPT},
        said,
        {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
    ]
    found = ask(here, input=items, instructions="Be brief.")
    text = said["content"][0]["text"]
    messages = [
        {"role": "system", "content": "Be brief."},
        *ASK,
        {"role": "assistant", "content": text},
        {"role": "user", "content": "x"},
    ]
    same = here.chat(messages=messages).json()["choices"][0]["message"]["content"]
    assert found["output"][0]["content"][0]["text"] == same
