"""No handler keeps the event loop, which meanwhile answers nobody: the largest requests of each route."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from gac_app.config import MAX_PROMPT_CHARS
from gac_app.server.api.requests import ChatRequest
from gac_app.server.limits import callers
from gac_app.server.limits.bodies import LARGE_BODY, RefusedError, checked_body
from tests.api.site import ASK, Sites
from tests.event_loops import MOST_S, watched_loops
from tests.server.conftest import entered as entered
from tests.server.conftest import host as host
from tests.server.hostile import BODIES

pytestmark = pytest.mark.slow
SAID: dict[str, Any] = {"model": "a", "messages": ASK, "logprobs": True, "top_logprobs": 8, "gac": {}}
TEXT = {"prompt": "word " * (MAX_PROMPT_CHARS // 5), "return_token_strs": True}
DOCUMENT: dict[str, Any] = {"model": "a", "prompt": "word " * 400, "echo": True, "logprobs": 8, "max_tokens": 1}
LARGE = [("/v1/chat/completions", {**SAID, "n": 8, "max_tokens": 200}), ("/v1/completions", DOCUMENT)]
LARGE += [("/v1/chat/completions", {**SAID, "n": 4, "max_tokens": 128, "stream": True}), ("/tokenize", TEXT)]
LARGE += [("/v1/completions", {**DOCUMENT, "stream": True}), ("/detokenize", {"tokens": [300] * 200_000})]
LARGE += [("/v1/responses", {"model": "a", "input": "Hi", "max_output_tokens": 400, "gac": {}, "stream": True})]


@pytest.mark.parametrize(("path", "body"), LARGE)
def test_large_answers_are_written_off_the_event_loop(site: Sites, path: str, body: dict[str, Any]) -> None:
    client = site().client
    small = {name: value for name, value in body.items() if name not in ("n", "stream")}
    client.post(path, json={**small, **({"prompt": "Hi"} if "prompt" in body else {})})  # what is loaded once
    with watched_loops() as slow:
        assert client.post(path, json=body).status_code == 200
    assert slow == []


@pytest.mark.parametrize("path", ["/", "/config", "/v1/openapi.json", "/gradio_api/info", "/metrics", "/readyz"])
def test_documents_are_kept(entered: TestClient, path: str) -> None:
    entered.get(path)
    with watched_loops() as slow:
        assert entered.get(path).status_code == 200
    assert slow == []


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/v1/chat/completions", "/v1/responses", "/detokenize"])
@pytest.mark.parametrize("name", BODIES)
def test_large_bodies_are_read_off_the_event_loop(entered: TestClient, path: str, name: str) -> None:
    with watched_loops() as slow:
        answer = entered.post(path, content=BODIES[name][1], headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 404)
    assert slow == []


@pytest.mark.parametrize(("part", "end"), [(b"\\n", b""), (b'"},{"role":"user', b'"}]}')], ids=["escapes", "messages"])
def test_bodies_read_on_the_event_loop_take_little(part: bytes, end: bytes) -> None:
    sent = b'{"model":"a","messages":[{"role":"user' + part * (LARGE_BODY // len(part)) + end

    def took_s() -> float:
        before = time.thread_time()
        with suppress(RefusedError, ValidationError):
            ChatRequest.model_validate(checked_body(sent)[1])
        return time.thread_time() - before

    assert min(took_s() for _ in range(9)) < 0.0015


def test_a_watch_sees_what_keeps_the_event_loop(site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    async def here(_: object, client: str, work: Callable[[], Any]) -> Any:
        until_s = time.thread_time() + 2 * MOST_S  # a fast core is done with the text itself just in time
        while time.thread_time() < until_s:
            pass
        return work()

    monkeypatch.setattr(callers.Callers, "work", here)
    client = site().client
    with watched_loops() as slow:
        assert client.post("/tokenize", json=TEXT).status_code == 200
    assert slow
