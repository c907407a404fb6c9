"""A client that means harm, at full speed: `python -m tests.server.hostile URL KIND SECONDS ADDRESS`."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx

from tests.server.site import API, Page, Visitor

NUM_PARALLEL = 12
LONG = 900_000
JSON = {"Content-Type": "application/json"}
KEYS = b",".join(b'"k%d":1' % number for number in range(70_000))
BODIES = {
    "surrogates": (f"{API}/queue/join", b'{"data":["' + b"\\ud800" * (LONG // 6) + b'"]}'),
    "parts": (f"{API}/queue/join", b'{"data":[' + b"[]," * (LONG // 3) + b"[]]}"),
    "unknown_keys": ("/v1/chat/completions", b"{" + KEYS + b"}"),
    "wrong_ids": ("/detokenize", b'{"tokens":[' + b'"a",' * 180_000 + b'"a"]}'),
    "deep": ("/v1/responses", b"[" * LONG),
}


class Hostile:
    """Sends requests of one kind, a method's name or one of `BODIES`, several at a time, from an address."""

    def __init__(self, url: str, page: Page, kind: str, address: str = "127.0.0.1") -> None:
        self.url, self.page, self.address = url, page, address
        self.send = partial(self.raw, *BODIES[kind]) if kind in BODIES else getattr(self, kind)
        self.codes: Counter[object] = Counter()
        self.visitor = self.new_visitor()
        self.board = next(c["id"] for c in page.config["components"] if c["props"].get("elem_id") == "gac-board")

    def new_visitor(self) -> Visitor:
        return Visitor(self.url, self.page, address=self.address)

    async def attack(self, *, seconds: float, num_parallel: int = NUM_PARALLEL) -> None:
        until = time.monotonic() + seconds

        async def one_after_another() -> None:
            while time.monotonic() < until:
                try:
                    self.codes[await self.send()] += 1
                except httpx.HTTPError as error:
                    self.codes[type(error).__name__] += 1
                    await asyncio.sleep(0.02)

        await asyncio.gather(*(one_after_another() for _ in range(num_parallel)))

    async def raw(self, path: str, body: Any) -> int:
        return (await self.visitor.http.post(path, content=body, headers=JSON)).status_code

    async def post(self, route: str, body: dict[str, Any]) -> int:
        return (await self.visitor.http.post(f"{API}/{route}", json=body)).status_code

    # --- for memory

    async def refused_prompts(self) -> int:
        return await self.post("queue/join", self.visitor.body("x" * LONG, session_hash=secrets.token_hex(6)))

    async def fresh_sessions(self, session_hash: str = "") -> int:
        body = {"component_id": self.board, "fn_name": "inspect_step", "data": {}}
        return await self.post("component_server", {**body, "session_hash": session_hash or secrets.token_hex(6)})

    async def long_sessions(self) -> int:
        return await self.fresh_sessions(secrets.token_hex(LONG // 2))

    # --- for places and time

    async def unheard_runs(self) -> int:
        """One key and one session; nobody listens."""
        return (await self.visitor.join("hostile")).status_code

    async def many_keys(self) -> int:
        """A new key and a new session for each run; nobody listens."""
        visitor = self.visitor
        visitor.key, visitor.session = secrets.token_hex(32), secrets.token_hex(6)
        return (await visitor.join("hostile")).status_code

    async def heard_runs(self) -> object:
        """One key, many sessions, each of which listens to its end."""
        async with self.new_visitor() as visitor:
            visitor.key = self.visitor.key
            answer = await visitor.join("hostile")
            with contextlib.suppress(httpx.HTTPError):
                async for _ in visitor.messages():
                    pass
            return answer.status_code

    async def one_event(self) -> int:
        return await self.post("queue/join", {**self.visitor.body(), "fn_index": self.page.quick()["id"], "data": []})

    # --- for the event loop

    async def ordinary(self) -> object:
        """What an ordinary neighbour does: one run after another, though as fast as it can."""
        await asyncio.sleep(NUM_PARALLEL * random.random())
        return await self.heard_runs()

    async def slow_bodies(self) -> int:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"[" * 9000
                await asyncio.sleep(0.01)

        return await self.raw(f"{API}/queue/join", pieces())


if __name__ == "__main__":
    url, kind, seconds, address = sys.argv[1:]
    hostile = Hostile(url, Page.of(url), kind, address)
    asyncio.run(hostile.attack(seconds=float(seconds)))
    print(dict(hostile.codes))
