"""The real host on a port of this machine, and visitors that speak to it as Gradio's script does."""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from gac_app.config import ServerConfig
from gac_app.server.limits.connections import Connections, limited_protocol

ROOT = Path(__file__).parent.parent.parent
API = "/gradio_api"
START_S = 180.0
PLACE = re.compile(r'"place":({[^{}]*})')

_ports = itertools.count(10_000 + os.getpid() * 37 % 20_000)


def free_port() -> int:
    """For a server in a process of its own: a port below those that the system gives to whoever connects, of which
    another one may be taken before the server listens.
    """
    for port in _ports:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError


@contextmanager
def served(host: ASGIApp, config: ServerConfig | None = None, listener: socket.socket | None = None) -> Iterator[str]:
    """Serve a host from a thread, at any port or where `listener` listens; its address."""
    with listener or socket.create_server(("127.0.0.1", 0)) as listener:
        protocol = limited_protocol(Connections(config or ServerConfig()))
        off: dict[str, Any] = {"access_log": False, "proxy_headers": False, "ws": "none"}
        how = uvicorn.Config(host, http=protocol, log_level="warning", timeout_graceful_shutdown=1, **off)
        server = uvicorn.Server(how)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        until = time.monotonic() + START_S
        while not server.started:
            assert time.monotonic() < until, "the host did not start"
            time.sleep(0.01)
        address, port, *_ = listener.getsockname()
        yield f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
        server.should_exit = True
        thread.join(15)


@dataclass
class Child:
    """A host in a process of its own, which says 60 tokens a second."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def process_of(
    command: Sequence[str], url: str, log: Path, env: dict[str, str] | None = None, name: str = "127.0.0.1"
) -> Iterator[subprocess.Popen[bytes]]:
    """What Python runs by `command`: a host with this name, once it is ready; fails with its log."""
    until, is_up = time.monotonic() + START_S, False
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=env, stdout=out, stderr=out)
    try:
        while not is_up:
            is_coming = process.poll() is None and time.monotonic() < until
            assert is_coming, log.read_text("utf-8", "replace")
            time.sleep(0.1)
            with suppress(httpx.TransportError):
                is_up = httpx.get(f"{url}/readyz", headers={"Host": name}).is_success
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def child(folder: Path, num_tokens: int = 30) -> Iterator[Child]:
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", folder / "log"
    command = ["-m", "tests.server.steady_ensemble", str(port), str(folder / "runs"), str(num_tokens)]
    with process_of(command, url, log) as process:
        yield Child(url, process, log)


@contextmanager
def serving(folder: Path, config: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`serve` with a database in `folder`, and its address; `config` is the text of its configuration."""
    port = free_port()
    (folder / "config.yaml").write_text(config)
    environ = os.environ | {"GAC_DATABASE_URL": f"sqlite:///{folder / 'gac.db'}"}
    command = ["-m", "gac_app", "serve", "--config", str(folder / "config.yaml"), "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with process_of(command, url, folder / "log", env=environ) as process:
        yield process, url


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


class Tab:
    """A page in some browser, with its key or a new one, and what its script sends; `http` reaches the host."""

    def __init__(self, http: httpx.Client, key: str = "") -> None:
        self.http, self.key = http, key or secrets.token_hex(32)
        self.open()

    def open(self) -> None:
        self.session, self.place = secrets.token_hex(5), None  # the place of the next prompt, by the run that is shown
        self.config = self.http.get("/config").json()
        self.parts = {one["props"].get("elem_id"): one["id"] for one in self.config["components"]}

    def call(self, part: str, function: str, **fields: Any) -> dict[str, Any]:
        """Ask a function that a part of the page offers its script."""
        found = self.reply(part, function, **fields)
        assert "error" not in found, found
        return found

    def reply(self, part: str, function: str, **fields: Any) -> dict[str, Any]:
        """As `call`, whose refusal is a reply too."""
        body = {"component_id": self.parts[part], "fn_name": function, "session_hash": self.session}
        answer = self.http.post(f"{API}/component_server", json={**body, "data": {"key": self.key, **fields}})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def event(self, part: str, name: str, **fields: Any) -> str:
        """What the page is sent of an event of a part, from its beginning to its end."""
        return self.join([self.parts[part], name], data=[], event_data={"key": self.key, **fields})

    def join(self, target: list[Any], on_text: Callable[[], None] = lambda: None, **sent: Any) -> str:
        """As `event`; `on_text` is called with the first that comes."""
        (number,) = [one["id"] for one in self.config["dependencies"] if target in one["targets"]]
        body = {"fn_index": number, "session_hash": self.session, **sent}
        self.http.post(f"{API}/queue/join", json=body).raise_for_status()
        said = ""
        with self.http.stream("GET", f"{API}/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                said += line
                if "process_generating" in line:
                    on_text()
                if "process_completed" in line:
                    self.place = next(map(json.loads, PLACE.findall(said.replace("\\", ""))), self.place)
                    return said
        raise AssertionError(said)

    def run(self, prompt: str, on_text: Callable[[], None] = lambda: None, **changes: Any) -> str:
        (target,) = [one for each in self.config["dependencies"] for one in each["targets"] if one[1] == "submit"]
        return self.join(target, on_text, data=[self.key, self.place, prompt, changes])

    def conversations(self) -> list[dict[str, Any]]:
        """The visitor's, the newest first."""
        fields = dict.fromkeys(("search", "outcome", "mode", "member", "since", "before"), "")
        found = self.call("gac-history", "list_conversations", offset=0, sort="newest", is_starred=False, **fields)
        return list(found["conversations"])

    def history(self) -> list[dict[str, Any]]:
        """The visitor's runs, the newest first."""
        runs = [run for conversation in self.conversations() for run in conversation["runs"]]
        return sorted(runs, key=lambda run: run["created_at"], reverse=True)


class Visitor:
    """One browser: a key, a session, a cookie, an address of this machine's loopback network."""

    def __init__(self, url: str, page: Page, *, address: str = "127.0.0.1") -> None:
        limits = httpx.Limits(max_connections=None)
        transport = httpx.AsyncHTTPTransport(local_address=address, limits=limits, verify=False)
        self.http = httpx.AsyncClient(base_url=url, transport=transport, timeout=60)
        self.page, self.key = page, secrets.token_hex(32)
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
