"""What is asked and answered, as values: settings of requests, parts of answers, errors. No host runs."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from gac_app.decoding.trace import Candidate, FinishedEvent, FinishReason, MemberTrace, StepTrace
from gac_app.errors import BusyError, GacError, LimitError, NotFoundError, RequestError, TooLongError
from gac_app.models.message import Message
from gac_app.server.api.answers import chat_logprob, gac_answer, token_text
from gac_app.server.api.errors import answer_to, refusal_of
from gac_app.server.api.requests import ChatRequest, CompletionRequest, DetokenizeRequest
from gac_app.server.api.response_models import ResponseRequest
from gac_app.server.limits.bodies import RefusedError
from gac_app.settings import MAX_BIASES

HI = [{"role": "user", "content": "Hi"}]


def chat(**fields: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "gac", "messages": HI, **fields})


def completion(**fields: Any) -> CompletionRequest:
    return CompletionRequest.model_validate({"model": "gac", "prompt": "Hi", **fields})


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        (chat(), {}),
        (chat(temperature=0.5, top_p=0.9, top_k=5, min_p=0.1, repetition_penalty=1.1, seed=3), {
            "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1, "seed": 3,
        }),
        (chat(max_tokens=4), {"max_new_tokens": 4}),
        (chat(max_tokens=4, max_completion_tokens=5), {"max_new_tokens": 5}),
        (chat(stop="x"), {"stop": ("x",)}),
        (chat(stop=["x", "y"]), {"stop": ("x", "y")}),
        (chat(seed=None, stop=None), {}),
        (chat(temperature=0.0, seed=0), {"temperature": 0.0, "seed": 0}),
        (chat(gac={"settings": {"seed": 1, "mode": "gate"}}, seed=2), {"seed": 2, "mode": "gate"}),
        (completion(max_tokens=0), {}),
        (completion(max_tokens=9), {"max_new_tokens": 9}),
    ],
)  # fmt: skip
def test_a_request_as_settings(asked: ChatRequest, changes: dict[str, Any]) -> None:
    assert asked.changes() == changes


def test_what_else_a_chat_says() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]
    asked = chat(messages=messages, n=3, logprobs=True, top_logprobs=2, stream_options={"include_usage": True})
    prompts = ((Message("system", "Be brief."), Message("user", "ab")),)
    assert asked.question() == {"prompts": prompts, "num_choices": 3}
    assert (asked.num_top, asked.wants_usage) == (2, True)
    assert [chat(**fields).num_top for fields in ({}, {"logprobs": False}, {"top_logprobs": 0})] == [None] * 3
    assert (chat(logprobs=True).num_top, chat().wants_usage, chat().question()["num_choices"]) == (0, False, 1)


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "param", "retry"),
    [
        (RequestError("seed", "is bad"), 400, "invalid_request_error", "invalid_value", "seed", None),
        (RequestError("max_new_tokens", "is bad"), 400, "invalid_request_error", "invalid_value", "max_tokens", None),
        (TooLongError("prompt", "long"), 400, "invalid_request_error", "context_length_exceeded", "prompt", None),
        (NotFoundError("no such model"), 404, "not_found_error", "model_not_found", "model", None),
        (LimitError("too many"), 429, "rate_limit_error", "rate_limit_exceeded", None, "5"),
        (BusyError("full"), 503, "server_error", "queue_full", None, "5"),
        (GacError("loading"), 503, "server_error", "unavailable", None, "5"),
        (RefusedError(429, "slowly", 2.1), 429, "rate_limit_error", None, None, "3"),
        (RefusedError(429, "slowly", 0.2), 429, "rate_limit_error", None, None, "1"),
        (RefusedError(413, "too large"), 413, "invalid_request_error", None, None, None),
    ],
)
def test_errors_in_the_form_of_openai(
    error: GacError | RefusedError, status: int, kind: str, code: str | None, param: str | None, retry: str | None
) -> None:
    response = answer_to(refusal_of(error, {"max_new_tokens": "max_tokens"}))
    facts = json.loads(bytes(response.body))["error"]
    assert (response.status_code, facts["type"], facts["code"], facts["param"]) == (status, kind, code, param)
    assert response.headers.get("retry-after") == retry
    if isinstance(error, RequestError):
        assert facts["message"] == f"{param}: {error.message}"


# --- answers


def ended(reason: FinishReason = FinishReason.STOP, num_tokens: int = 8, detail: str = "") -> FinishedEvent:
    return FinishedEvent(reason, "", num_tokens, 5, 0.1, 0.2, {}, detail, "1f", True)


@pytest.mark.parametrize(
    ("token", "text"), [(b"a", "a"), ("é".encode(), "é"), (b"", ""), (b"\xe4\xbd", "bytes:\\xe4\\xbd")]
)
def test_a_token_as_text(token: bytes, text: str) -> None:
    assert token_text(token) == text


def test_a_step_as_the_api_tells_it() -> None:
    top = (Candidate(1, b"a", 0.5), Candidate(2, b"", 0.25), Candidate(3, b"\xff", 0.0))
    members = (MemberTrace("x", 0.75, 0.5, 1, top, 1, 0.1), MemberTrace("y", 0.25, 0.125, 2, top, 1, 0.1))
    step = StepTrace(3, 1, b"a", 0.5, top, 0.75, True, "x", members, is_drafted=True, drafted_by=("y",))
    told = {
        "token": "a",
        "bytes": [97],
        "prob": 0.5,
        "gate_confidence": 0.75,
        "ensembled": True,
        "winner": "x",
        "drafted": True,
        "drafted_by": ["y"],
        "members": {"x": {"weight": 0.75, "prob": 0.5}, "y": {"weight": 0.25, "prob": 0.125}},
    }
    tops = [
        {"token": "a", "logprob": math.log(0.5), "bytes": [97]},
        {"token": "", "logprob": math.log(0.25), "bytes": []},
        {"token": "bytes:\\xff", "logprob": -9999.0, "bytes": [255]},
    ]
    for num in (0, 1, 3):
        assert chat_logprob(step, num).model_dump() == {**tops[0], "top_logprobs": tops[:num]}
    rest = {"digest": "1f", "reproducible": True, "num_ensembled": 5}
    assert gac_answer([step], ended(), has_steps=True).model_dump() == {"steps": [told], **rest}
    assert gac_answer([step], ended(), has_steps=False).model_dump() == {"steps": [], **rest}
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
