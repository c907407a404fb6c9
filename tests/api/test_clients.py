"""The official client of OpenAI speaks to a host on a port, and its types are what comes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from tests.api.site import ASK, Sites, chat_body
from tests.server.site import served

openai = pytest.importorskip("openai")

CHAT = chat_body()


@pytest.fixture
def url(site: Sites) -> Iterator[str]:
    with served(site().host) as url:
        yield f"{url}/v1"


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, _strict_response_validation=True) as client:
        yield client


def test_the_guide_s_first_requests_are_answered(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8").replace("http://127.0.0.1:7860/v1", url)
    [python, curl] = re.findall(r"```(?:python)?\n((?:from openai|curl).*?)```", guide, re.DOTALL)
    exec(python, {})  # noqa: S102
    assert capsys.readouterr().out
    _, address, _, header, _, body = shlex.split(curl.replace("\\\n", ""))
    answer = httpx.post(address, content=body, headers=[tuple(header.split(": "))])  # type: ignore[list-item]
    assert answer.json()["choices"][0]["message"]["content"]


def test_it_chats_and_goes_on(client: Any) -> None:
    """What its answers and its own options say is taken back."""
    answer = client.chat.completions.create(**CHAT, logprobs=True, top_logprobs=2, n=2)
    [first, second] = answer.choices
    assert first.message.content == second.message.content
    assert "".join(one.token for one in first.logprobs.content) == first.message.content
    assert answer.usage.completion_tokens == 16
    assert answer._request_id.startswith("req_")
    options: dict[str, Any] = {"reasoning_effort": "low", "verbosity": "low", "logprobs": True, "top_logprobs": 20}
    local = {"min_tokens": 1, "ignore_eos": False, "chat_template_kwargs": {"enable_thinking": False}}
    chat = [*ASK, first.message, {"role": "user", "content": "More", "name": "somebody"}]
    answer = client.chat.completions.create(**{**CHAT, "messages": chat}, **options, extra_body=local)
    assert answer.choices[0].message.content


def test_it_streams(client: Any) -> None:
    whole = client.chat.completions.create(**CHAT).choices[0].message.content
    chunks = list(client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole
    assert chunks[-1].usage.completion_tokens == 8


def test_it_raises_what_the_host_refuses(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as refusal:
        client.chat.completions.create(**CHAT, tools=[{"type": "function", "function": {"name": "f"}}])
    assert (refusal.value.param, refusal.value.code) == ("tools", "unsupported_parameter")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")
    assert "gac" in [model.id for model in client.models.list()]


def test_it_completes(client: Any) -> None:
    answer = client.completions.create(model="a", prompt=["the model", "of all"], max_tokens=3, logprobs=2, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert all(len(one.logprobs.tokens) == len(one.logprobs.top_logprobs) == 3 for one in answer.choices)


def test_it_streams_completions(url: str) -> None:
    """Its type of a chunk has no null as finish_reason, which OpenAI sends, so nothing is validated strictly."""
    with openai.OpenAI(base_url=url, api_key="none") as client:
        fields: dict[str, Any] = {"model": "a", "prompt": "the model", "max_tokens": 3, "echo": True}
        whole = client.completions.create(**fields).choices[0].text
        assert "".join(chunk.choices[0].text for chunk in client.completions.create(**fields, stream=True)) == whole


def test_it_responds(client: Any) -> None:
    fields: dict[str, Any] = {"model": "gac", "input": ASK[0]["content"], "max_output_tokens": 8}
    whole = client.responses.create(**fields)
    assert whole.output_text == client.chat.completions.create(**CHAT).choices[0].message.content
    with client.responses.stream(**fields) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert text == whole.output_text


def test_it_parses_answers_as_models(client: Any) -> None:
    pytest.importorskip("llguidance")

    class Light(BaseModel):
        on: bool
        sizes: tuple[bool, bool]

    fields = {**CHAT, "max_tokens": 300, "response_format": Light}
    answer = client.chat.completions.parse(**fields)
    assert isinstance(answer.choices[0].message.parsed, Light)
    response = client.responses.parse(model="gac", input="A light?", text_format=Light, max_output_tokens=300)
    assert isinstance(response.output_parsed, Light)
    with client.chat.completions.stream(**fields) as stream:
        stream.until_done()
        assert stream.get_final_completion().choices[0].message.parsed == answer.choices[0].message.parsed
