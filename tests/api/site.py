"""A host with the API, and what its programs send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gac_app.server.api.app import api_app
from gac_app.server.host import bare_host
from gac_app.services.completions.completion_run import CompletionRun
from gac_app.services.completions.completions import Completions
from gac_app.services.runs.runs import RunService

HERE = "http://localhost:7860"
KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
PROMPT = "Name three colours"
ASK = [{"role": "user", "content": PROMPT}]
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": ASK, "max_tokens": 8}),
    "text": ("/v1/completions", {"prompt": PROMPT, "max_tokens": 8}),
    "response": ("/v1/responses", {"input": PROMPT, "max_output_tokens": 8}),
}


@dataclass
class Site:
    """A host, its services, and a client of it."""

    host: FastAPI
    service: RunService
    completions: Completions
    client: TestClient

    @classmethod
    @contextmanager
    def over(cls, service: RunService) -> Iterator[Site]:
        completions = Completions(service)
        host = bare_host(service, service.config.server, api=partial(api_app, completions, service.config))
        with TestClient(host, base_url=HERE, raise_server_exceptions=False) as client:
            yield cls(host, service, completions, client)

    def ask(self, kind: str, **fields: Any) -> httpx.Response:
        path, body = BODIES[kind]
        return self.client.post(path, json={"model": "gac", **body, **fields})

    def chat(self, **fields: Any) -> httpx.Response:
        return self.ask("chat", **fields)

    def chat_with(self, headers: dict[str, str]) -> httpx.Response:
        return self.client.post("/v1/chat/completions", json=chat_body(), headers=headers)

    @property
    def under_way(self) -> list[CompletionRun]:
        return [*self.completions._live.values()]

    @property
    def num_under_way(self) -> int:
        return len(self.under_way)


Sites = Callable[..., Site]  # `site(models=..., api=..., server=...)`


def chat_body(**fields: Any) -> dict[str, Any]:
    return {"model": "gac", **BODIES["chat"][1], **fields}


def text_of(kind: str, whole: Any) -> str:
    """What a whole answer says."""
    if kind == "response":
        return str(whole["output"][0]["content"][0]["text"])
    choice = whole["choices"][0]
    return str(choice["message"]["content"] if kind == "chat" else choice["text"])


def streamed_text(kind: str, events: list[Any]) -> str:
    if kind == "response":
        return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    choices = [event["choices"][0] for event in events]
    return "".join(one["delta"].get("content", "") if kind == "chat" else one["text"] for one in choices)


def refusal_of(answer: httpx.Response) -> tuple[int, dict[str, Any]]:
    """Its status, and what it says, in the form of OpenAI."""
    error, status = answer.json()["error"], answer.status_code
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return status, error


def events_of(answer: httpx.Response) -> list[Any]:
    """The events of a stream, without the `[DONE]` that ends others than responses."""
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
    if not answer.text.startswith("event: "):
        assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]
