"""A host with the API, and what its programs send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gac_app.server.api.access import _visitor_key
from gac_app.server.api.app import api_app
from gac_app.server.host import bare_host
from gac_app.services.completions.completion_run import CompletionRun
from gac_app.services.completions.completions import Asker, Completions
from gac_app.services.runs.runs import RunService

HERE = "http://localhost:7860"
ASK = [{"role": "user", "content": "Name three colours"}]


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

    def chat(self, **fields: Any) -> httpx.Response:
        return self.client.post("/v1/chat/completions", json=chat_body(**fields))

    def chat_with(self, headers: dict[str, str]) -> httpx.Response:
        return self.client.post("/v1/chat/completions", json=chat_body(), headers=headers)

    def refusal(self, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Status and error of a chat that is refused."""
        return refusal_of(self.chat(**fields))

    def client_from(self, address: str) -> TestClient:
        """A client at another address of a host that is up."""
        return TestClient(self.host, base_url=HERE, client=(address, 1), raise_server_exceptions=False)

    def asker(self) -> Asker:
        """Who the client is."""
        [run] = self.completions._live.all()
        return Asker(visitor_key=_visitor_key(f"address {run.client}"), client=run.client, max_at_once=None)

    @property
    def under_way(self) -> list[CompletionRun]:
        return [run for run in self.completions._live.all() if not run.over.is_set()]

    @property
    def num_under_way(self) -> int:
        return len(self.under_way)


def chat_body(**fields: Any) -> dict[str, Any]:
    return {"model": "gac", "messages": ASK, "max_tokens": 8, **fields}


def refusal_of(answer: httpx.Response) -> tuple[int, dict[str, Any]]:
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return answer.status_code, error


def events_of(answer: httpx.Response) -> list[Any]:
    """The events of a stream, without the `[DONE]` that ends it."""
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]
