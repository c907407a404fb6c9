"""The real host on a port of this machine, and visitors that speak to it as Gradio's script does."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from gac_app.config import ServerConfig
from gac_app.server.limits.connections import Connections, limited_protocol

ROOT = Path(__file__).parent.parent.parent
API = "/gradio_api"
START_S = 180.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(host: FastAPI, config: ServerConfig | None = None) -> Iterator[str]:
    """Serve a host from a thread; its address."""
    port = free_port()
    protocol = limited_protocol(Connections(config or ServerConfig()))
    settings: dict[str, Any] = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(host, host="127.0.0.1", port=port, http=protocol, ws="none", **settings))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + START_S
    while not server.started:
        assert time.monotonic() < until, "the host did not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(15)


def wait_until_up(client: httpx.Client, log: Path | None = None, within_s: float = START_S) -> None:
    """Until the host answers; fails with its log."""
    until = time.monotonic() + within_s
    while True:
        assert time.monotonic() < until, log.read_text("utf-8", "replace") if log else "the host did not come up"
        try:
            client.get("/healthz").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return


@dataclass
class Child:
    """A host in a process of its own, which says 60 tokens a second."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def child(folder: Path, num_tokens: int = 30, root: Path = ROOT) -> Iterator[Child]:
    """`root` is the checkout whose version is served."""
    port = free_port()
    command = [sys.executable, "-m", "tests.server.steady_ensemble", str(port), str(folder / "runs"), str(num_tokens)]
    log = folder / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=root, stderr=stderr, stdout=stderr)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            wait_until_up(client, log)
        yield Child(f"http://127.0.0.1:{port}", process, log)
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Page:
    """What a page says of its events: their numbers, and the inputs of the one that answers a prompt."""

    run: int
    inputs: tuple[Any, ...]
    config: dict[str, Any]

    @classmethod
    def of(cls, url: str) -> Page:
        return cls.from_config(httpx.get(f"{url}/config", timeout=30).json())

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Page:
        values = {component["id"]: component["props"].get("value") for component in config["components"]}
        run = next(d for d in config["dependencies"] if any(event == "submit" for _, event in d["targets"]))
        return cls(run["id"], tuple(values[i] for i in run["inputs"]), config)

    def quick(self) -> dict[str, Any]:
        """An event that goes past the queue and takes no input."""
        found = next(d for d in self.config["dependencies"] if not d["queue"] and d["backend_fn"] and not d["inputs"])
        return dict(found)


class Visitor:
    """One browser: a key, a session, a cookie, an address of this machine's loopback network."""

    def __init__(self, url: str, page: Page, *, address: str = "127.0.0.1", key: str | None = None) -> None:
        limits = httpx.Limits(max_connections=None)
        transport = httpx.AsyncHTTPTransport(local_address=address, limits=limits, verify=False)
        self.http = httpx.AsyncClient(base_url=url, transport=transport, timeout=60)
        self.page, self.key = page, key or secrets.token_hex(32)
        self.session = secrets.token_hex(6)

    async def __aenter__(self) -> Visitor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    def body(self, prompt: str = "hello", **changes: Any) -> dict[str, Any]:
        data = [self.key, None, prompt, *self.page.inputs[3:]]
        return {"data": data, "fn_index": self.page.run, "session_hash": self.session, **changes}

    async def join(self, prompt: str = "hello", **changes: Any) -> httpx.Response:
        return await self.http.post(f"{API}/queue/join", json=self.body(prompt, **changes))

    @asynccontextmanager
    async def heartbeat(self) -> AsyncIterator[httpx.Response]:
        async with self.http.stream("GET", f"{API}/heartbeat/{self.session}") as answer:
            yield answer

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        async with self.http.stream("GET", f"{API}/queue/data", params={"session_hash": self.session}) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    async def first_token_s(self, prompt: str = "hello") -> float:
        """Seconds from the prompt to the first token; the whole answer is awaited. Fails where there is none."""
        start, first_s, said = time.monotonic(), 0.0, ""
        answer = await self.join(prompt)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        async for message in self.messages():
            said += json.dumps(message)
            if not first_s and '[0,\\"' in json.dumps(message).replace("\\\\", "\\"):
                first_s = time.monotonic() - start
        assert first_s, said[-2000:]
        return first_s
