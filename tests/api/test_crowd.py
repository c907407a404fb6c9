"""Fifty programs ask a server for two minutes: `pytest -m long -s tests/api/test_crowd.py` prints the figures."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil
import pytest

from tests.api.clients import server

NUM_CLIENTS, SECONDS, WARM_S = 50, 120.0, 40.0
MAX_GROWTH_MB, MAX_METRICS_S = 15.0, 1.0
HONEST = (429, 503)
CHAT = {"model": "gac", "messages": [{"role": "user", "content": "Name three colours."}], "max_tokens": 24}


@dataclass
class Seen:
    """What clients got: answers by kind and status, seconds of /metrics, memory by time."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    metrics_s: list[float] = field(default_factory=list)
    memory_mb: list[tuple[float, float]] = field(default_factory=list)

    def mean_mb(self, since_s: float, until_s: float) -> float:
        return statistics.mean(mb for at_s, mb in self.memory_mb if since_s <= at_s < until_s)


def judged(answer: httpx.Response) -> str:
    """`ok`, or the status of an honest refusal; anything else fails."""
    if answer.status_code == 200:
        return "ok"
    assert answer.status_code in HONEST, (answer.status_code, answer.text)
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["error"]["message"]
    return str(answer.status_code)


async def whole(client: httpx.AsyncClient) -> str:
    return judged(await client.post("/v1/chat/completions", json=CHAT))


async def document(client: httpx.AsyncClient) -> str:
    asked = {"model": "a", "prompt": ["To the model", "of all"], "max_tokens": 1, "echo": True, "logprobs": 2}
    return judged(await client.post("/v1/completions", json=asked))


async def tokens(client: httpx.AsyncClient) -> str:
    return judged(await client.post("/tokenize", json={"prompt": "the model of all"}))


async def stream(client: httpx.AsyncClient, num_read: int | None = None) -> str:
    """Reads so many events, or all of them."""
    async with client.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as answer:
        if answer.status_code != 200:
            await answer.aread()
            return judged(answer)
        events = []
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                events.append(line.removeprefix("data: "))
            if len(events) == num_read:
                return "left"
    assert events[-1] == "[DONE]"
    if '"error"' in events[-2]:
        assert '"aborted"' in events[-2], events[-2]
        return "503"
    return "ok"


async def leave(client: httpx.AsyncClient) -> str:
    return await stream(client, 3)


KINDS: list[Callable[[httpx.AsyncClient], Awaitable[str]]] = [whole, document, tokens, stream, leave]


async def ask(url: str, number: int, until: float, seen: Seen) -> None:
    drawn = random.Random(number)
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        while time.monotonic() < until:
            kind = drawn.choice(KINDS)
            got = await kind(client)
            seen.answers[kind.__name__, got] += 1
            await asyncio.sleep(drawn.uniform(0.5, 1.5) if got in map(str, HONEST) else drawn.uniform(0.0, 0.2))


async def watch(url: str, pid: int, started: float, until: float, seen: Seen) -> None:
    process = psutil.Process(pid)
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        while (now := time.monotonic()) < until:
            (await client.get("/metrics")).raise_for_status()
            seen.metrics_s.append(time.monotonic() - now)
            seen.memory_mb.append((now - started, process.memory_info().rss / 1e6))
            await asyncio.sleep(1)


async def crowd(url: str, pid: int, seconds: float) -> Seen:
    seen, started = Seen(), time.monotonic()
    until = started + seconds
    clients: list[Any] = [ask(url, number, until, seen) for number in range(NUM_CLIENTS)]
    await asyncio.gather(watch(url, pid, started, until, seen), *clients)
    return seen


async def is_idle(url: str) -> bool:
    async with httpx.AsyncClient(base_url=url) as client:
        lines = (await client.get("/metrics")).text.splitlines()
    counts = [line for line in lines if line.startswith(("gac_num_requests_running ", "gac_num_requests_waiting "))]
    return len(counts) == 2 and all(float(line.split()[1]) == 0 for line in counts)


@pytest.mark.long
@pytest.mark.process
def test_fifty_programs_leave_memory_as_it_was() -> None:
    with server() as (url, pid):
        seen = asyncio.run(crowd(url, pid, SECONDS))
        until = time.monotonic() + 20
        while not asyncio.run(is_idle(url)):
            assert time.monotonic() < until, "a run goes on"
            time.sleep(0.2)
    before, after = seen.mean_mb(WARM_S, WARM_S + 20), seen.mean_mb(SECONDS - 20, SECONDS)
    for (kind, got), num in sorted(seen.answers.items()):
        print(f"{kind:9} {got:5} {num:6}")
    print("memory by 20 s:", *(f"{seen.mean_mb(at, at + 20):.0f}" for at in range(0, int(SECONDS), 20)), "MB")
    print(f"memory {before:.1f} -> {after:.1f} MB; /metrics median {statistics.median(seen.metrics_s):.3f} s, "
          f"longest {max(seen.metrics_s):.3f} s")  # fmt: skip
    assert all(seen.answers[kind.__name__, "left" if kind is leave else "ok"] for kind in KINDS)
    assert after - before < MAX_GROWTH_MB
    assert statistics.median(seen.metrics_s) < MAX_METRICS_S
