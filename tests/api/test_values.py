"""What is asked and answered, as values: settings of requests, parts of answers. No host runs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from gac_app.decoding.trace import Candidate, FinishedEvent, FinishReason, MemberTrace, StepTrace
from gac_app.server.api.answers import chat_logprob, gac_answer
from gac_app.server.api.requests import ChatRequest, CompletionRequest, DetokenizeRequest
from gac_app.server.api.response_models import ResponseRequest
from gac_app.settings import MAX_BIASES

HI = [{"role": "user", "content": "Hi"}]


def chat(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "gac", "messages": HI, **fields})


def completion(**fields: Any) -> CompletionRequest:
    return CompletionRequest.model_validate({"model": "gac", "prompt": "Hi", **fields})


SAMPLING = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "seed": 3}


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        *((chat(**SAMPLING), SAMPLING), (chat(temperature=0.0, seed=0), {"temperature": 0.0, "seed": 0})),
        (chat(gac={"settings": {"seed": 1, "mode": "gate"}}, seed=2), {"seed": 2, "mode": "gate"}),
        *((chat(stop="x"), {"stop": ("x",)}), (chat(stop=["x", "y"]), {"stop": ("x", "y")})),
        *((chat(max_tokens=4), {"max_new_tokens": 4}), (completion(max_tokens=9), {"max_new_tokens": 9})),
        *((chat(max_tokens=4, max_completion_tokens=5), {"max_new_tokens": 5}), (completion(max_tokens=0), {})),
    ],
)
def test_a_request_as_settings(asked: ChatRequest, changes: dict[str, Any]) -> None:
    assert asked.changes() == changes


def test_probabilities_are_told_where_they_are_asked_for() -> None:
    assert [chat(**fields).num_top for fields in ({}, {"logprobs": False}, {"top_logprobs": 0})] == [None] * 3
    assert chat(logprobs=True).num_top == 0


# --- answers


def test_a_step_as_the_api_tells_it() -> None:
    top = (Candidate(1, b"a", 0.5), Candidate(2, b"", 0.25), Candidate(3, b"\xff", 0.0))
    members = (MemberTrace("x", 0.75, 0.5, 1, top, 1, 0.1), MemberTrace("y", 0.25, 0.125, 2, top, 1, 0.1))
    step = StepTrace(3, 1, b"a", 0.5, top, 0.75, True, "x", members, is_drafted=True, drafted_by=("y",))
    told: dict[str, Any] = {"token": "a", "bytes": [97], "prob": 0.5, "gate_confidence": 0.75, "ensembled": True}
    told |= {"winner": "x", "drafted": True, "drafted_by": ["y"]}
    told["members"] = {"x": {"weight": 0.75, "prob": 0.5}, "y": {"weight": 0.25, "prob": 0.125}}
    tops = [
        {"token": "a", "logprob": math.log(0.5), "bytes": [97]},
        {"token": "", "logprob": math.log(0.25), "bytes": []},
        {"token": "bytes:\\xff", "logprob": -9999.0, "bytes": [255]},
    ]
    for num in (0, 1, 3):
        assert chat_logprob(step, num).model_dump() == {**tops[0], "top_logprobs": tops[:num]}
    ended = FinishedEvent(FinishReason.STOP, "", 8, 5, 0.1, 0.2, {}, "", "1f", True)
    rest = {"digest": "1f", "reproducible": True, "num_ensembled": 5}
    assert gac_answer([step], ended, has_steps=True).model_dump() == {"steps": [told], **rest}
    assert gac_answer([step], ended, has_steps=False).model_dump() == {"steps": [], **rest}
    assert gac_answer([step], None, has_steps=True).model_dump() == {"steps": [told], **dict.fromkeys(rest)}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (ChatRequest, {f"k{number}": 1 for number in range(500)}),
        (ChatRequest, {"messages": [{**HI[0], **{f"k{number}": 1 for number in range(500)}}]}),
        (ChatRequest, {"messages": [{"role": "nobody"}] * 500}),
        (ChatRequest, {"metadata": {f"k{number}": 1 for number in range(500)}}),
        (ChatRequest, {"logit_bias": {f"k{number}": 1 for number in range(5000)}}),
        (ChatRequest, {"modalities": ["audio"] * 500}),
        (CompletionRequest, {"prompt": [-1] * 500}),
        (ResponseRequest, {"input": [{"role": "nobody"}] * 500}),
        (DetokenizeRequest, {"tokens": ["a"] * 500}),
    ],
)
def test_not_all_faults_of_a_hostile_body_are_listed(kind: type[BaseModel], fields: dict[str, Any]) -> None:
    """Each of them takes time, in which nothing else runs."""
    with pytest.raises(ValidationError) as raised:
        kind.model_validate({"model": "gac", "messages": HI, **fields} if kind is ChatRequest else fields)
    assert raised.value.error_count() <= (2 * (MAX_BIASES + 1) if "logit_bias" in fields else 40)
