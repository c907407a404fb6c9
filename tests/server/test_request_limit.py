"""What a request costs its address, whatever it asks for, and whether or not it is well formed."""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from gac_app.config import MAX_PROMPT_CHARS
from gac_app.server import middleware
from gac_app.server.limits.callers import BYTES_PER_REQUEST, Callers
from gac_app.services.queue.shares import client_of
from tests.server.conftest import HERE, an_address

JSON = {"Content-Type": "application/json"}
SIZE = 280_000
PAGE, API = ["/gradio_api/queue/join", "/gradio_api/run/predict"], ["/v1/chat/completions", "/v1/responses"]
TOKENS = ["/tokenize", "/detokenize"]


class Poor(TestClient):
    """A client whose address has `left` requests, and gets no more."""

    def __init__(self, host: FastAPI, left: float) -> None:
        address, port = an_address()
        super().__init__(host, base_url=HERE, raise_server_exceptions=False, client=(address, port))
        allowance, now = host.state.admission.callers._of_client, time.monotonic()
        allowance._clock = lambda: now
        allowance.take(client_of(address), allowance._burst - left)


@pytest.fixture(autouse=True)
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Those of refused requests, which are answered at once here."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(middleware, "asyncio", SimpleNamespace(sleep=sleep))
    return found


KEYS = b",".join(b'"k%d":1' % number for number in range(23_000))
BODIES = {
    "good": b'{"data": ["' + b"x" * SIZE + b'"]}',
    "surrogates": b'{"data": ["' + b"\\ud800" * (SIZE // 6) + b'"]}',
}
BODIES |= {"keys": b"{" + KEYS + b"}", "deep": b"[" * SIZE, "binary": b"\xff" * SIZE}


@pytest.mark.parametrize("path", [*PAGE, *API, *TOKENS])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bodies_are_paid_for_whatever_they_hold(host: FastAPI, path: str, body: bytes) -> None:
    client = Poor(host, 2.1 * (1 + len(body) / BYTES_PER_REQUEST))
    answers = [client.post(path, content=body, headers=JSON) for _ in range(3)]
    assert [answer.status_code == 429 for answer in answers] == [False, False, True]
    assert int(answers[-1].headers["retry-after"]) >= 1


PATHS = ["/", "/config", "/healthz", "/readyz", "/metrics", "/gradio_api/info", "/nothing", "/scripts/x/y", "/operator"]
PATHS += ["/v1/models", "/v1/openapi.json", "/v1/nothing", "/tokenizer_info", "/models/gac/tokenizer_info"]


@pytest.mark.parametrize("path", PATHS)
def test_every_route_is_paid_for(host: FastAPI, path: str, delays: list[float]) -> None:
    answer = Poor(host, 0.0).get(path)
    assert (answer.status_code, delays) == (429, [middleware.LATE_S])
    assert int(answer.headers["retry-after"]) >= 1
    is_of_api = path.startswith("/v1") or path.endswith("/tokenizer_info")
    assert isinstance(answer.json()["error"], dict if is_of_api else str)


def test_headers_are_paid_for(host: FastAPI) -> None:
    client, headers = Poor(host, 50.0), [(f"x-{number}", "x") for number in range(2000)]
    assert [client.get("/healthz", headers=headers).status_code for _ in range(3)] == [200, 200, 429]


def test_a_document_under_a_new_address_costs_more(host: FastAPI) -> None:
    client = Poor(host, 105.0)
    codes = [client.get("/config", headers={"Host": f"localhost:{port}"}).status_code for port in (1, 2, 2, 2, 3)]
    assert codes == [200, 200, 200, 200, 429]


@pytest.mark.anyio
async def test_an_address_has_one_piece_of_work_at_a_time() -> None:
    callers, done, go_on = Callers(8), list[str](), threading.Event()
    first = asyncio.create_task(callers.work("home", go_on.wait))
    second = asyncio.create_task(callers.work("home", lambda: done.append("second")))
    for _ in range(20):
        await callers.work("office", lambda: done.append("office"))
    go_on.set()
    await asyncio.gather(first, second)
    assert done == ["office"] * 20 + ["second"]


@pytest.mark.anyio
async def test_all_addresses_have_one_heavy_piece_of_work_at_a_time() -> None:
    callers, done, go_on = Callers(8), list[str](), threading.Event()
    first = asyncio.create_task(callers.work("home", go_on.wait, is_heavy=True))
    second = asyncio.create_task(callers.work("office", lambda: done.append("heavy"), is_heavy=True))
    for _ in range(20):
        await callers.work("library", lambda: done.append("light"))
    go_on.set()
    await asyncio.gather(first, second)
    assert done == ["light"] * 20 + ["heavy"]


@pytest.mark.parametrize("path", [PAGE[0], *API, *TOKENS])
def test_a_prompt_of_a_megabyte_is_refused_at_once(host: FastAPI, path: str) -> None:
    client, body = Poor(host, 100.0), b'{"prompt": "' + b"x" * 1_000_000 + b'"}'
    client.post(path, content=b"{}", headers=JSON)  # what is loaded once
    tracemalloc.start()
    start = time.process_time()
    answer = client.post(path, content=body, headers=JSON)
    seconds, (_, peak_bytes) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 413
    assert seconds < 1
    assert peak_bytes < 4 * middleware.LIMITS[""][1]


@pytest.mark.parametrize("path", ["/", "/config", "/healthz", "/v1/models", "/v1/openapi.json", "/tokenizer_info"])
def test_head_has_the_status_of_get(host: FastAPI, path: str) -> None:
    client = Poor(host, 100.0)
    assert client.head(path).status_code == client.get(path).status_code


LONG = "x " * (MAX_PROMPT_CHARS // 2 + 1)
MESSAGES = [{"role": "user", "content": "x"}, {"role": "user", "content": LONG[1:]}]
PROMPTS = [("/v1/chat/completions", {"messages": MESSAGES}, "messages"), ("/v1/responses", {"input": LONG}, "input")]
PROMPTS += [("/v1/completions", {"prompt": ["x", LONG]}, "prompt"), ("/tokenize", {"prompt": LONG}, "prompt")]
PROMPTS += [("/tokenize", {"messages": MESSAGES, "model": "Small"}, "messages")]


@pytest.mark.parametrize(("path", "fields", "param"), PROMPTS)
def test_long_prompts_are_refused_untokenised(host: FastAPI, path: str, fields: dict[str, Any], param: str) -> None:
    """The planted ensemble has no tokeniser."""
    answer = Poor(host, 100.0).post(path, json={"model": "gac"} | fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert f"at most {MAX_PROMPT_CHARS:,}." in answer.json()["error"]["message"]
