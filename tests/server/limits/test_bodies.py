"""How much of a body is read, on each route."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gac_app.server import host
from gac_app.server.limits.bodies import MAX_PARTS, RefusedError, checked_body, replaying, visitor_key_in
from gac_app.server.limits.callers import Callers
from gac_app.server.middleware import LIMITS, RequestLimit
from tests.fakes import config_of
from tests.server.fakes import FakeService

PIECE = b'"' + b"x" * 999


class Sender:
    """Sends pieces of a body that does not end, or hangs up after some."""

    def __init__(self, num_pieces: int | None = None) -> None:
        self.num_pieces, self.num_sent = num_pieces, 0

    async def receive(self) -> Message:
        if self.num_sent == self.num_pieces:
            return {"type": "http.disconnect"}
        self.num_sent += 1
        assert self.num_sent < 10_000, "it is read without end"
        return {"type": "http.request", "body": PIECE, "more_body": True}


def read(receive: Receive, path: str = "/gradio_api/cancel") -> tuple[list[bytes], list[Exception]]:
    """The body, if it is whole, and what it is refused for."""
    found, refused = list[bytes](), list[Exception]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(await Request(scope, receive).body())

    def answer(error: Exception, path: str) -> Response:
        refused.append(error)
        return Response()

    async def send(message: Message) -> None:
        """To nobody."""

    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": path, "headers": [], "client": None}
    asyncio.run(RequestLimit(app, Callers(64), answer)(scope, receive, send))
    return found, refused


@pytest.mark.parametrize(("begin", "max_bytes"), [(begin, of[1]) for begin, of in LIMITS.items()])
def test_an_endless_body_is_read_up_to_its_routes_limit(begin: str, max_bytes: int) -> None:
    sender = Sender()
    found, [refused] = read(sender.receive, begin or "/v1/chat/completions")
    assert (found, sender.num_sent) == ([], max_bytes // len(PIECE) + 1)
    assert isinstance(refused, RefusedError)
    assert (refused.status, f"at most {max_bytes:,}" in refused.message) == (413, True)


def test_where_gradio_serves_it_has_the_hosts_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: dict[str, Any] = {}
    blocks = SimpleNamespace(launch=lambda **given: launched.update(given), close=lambda **_: None)
    monkeypatch.setattr(host, "build_page", lambda *_, **__: blocks)
    monkeypatch.setattr(host, "_wait_for_signal", lambda: None)
    host.launch_page(FakeService(), config_of(["a"]))  # type: ignore[arg-type]
    assert RequestLimit in [middleware.cls for middleware in launched["app_kwargs"]["middleware"]]
    assert not any(launched[name] for name in ("run_history", "enable_monitoring", "show_error"))


def test_a_body_as_long_as_allowed_is_whole() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": PIECE * 2}

    assert read(receive) == ([PIECE * 2], [])


def test_of_a_body_cut_off_nobody_is_told() -> None:
    assert read(Sender(1).receive) == ([], [])


def test_a_body_is_replayed_once() -> None:
    async def twice() -> list[Message]:
        receive = replaying(b"{}", Sender(0).receive)
        return [await receive(), await receive()]

    first, second = asyncio.run(twice())
    assert first == {"type": "http.request", "body": b"{}", "more_body": False}
    assert second == {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        *((b"{}", {}), (b'{"a": 1}', {"a": 1}), (b'{"a": "\\ud800"}', {"a": "\ufffd"})),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "\\\\ud800 \\ud800\\ud83d\\ude00\\n\\"\\udc00"}', {"a": '\\ud800 \ufffd\U0001f600\n"\ufffd'}),
    ],
)
def test_a_body_is_an_object_that_is_safe_to_pass_on(body: bytes, value: dict[str, Any]) -> None:
    passed_on, found = checked_body(body)
    assert found == value == json.loads(passed_on)


def test_a_body_of_many_small_parts_is_not_parsed() -> None:
    assert checked_body(b'{"a": [' + b"[]," * (MAX_PARTS - 3) + b"[]]}")
    with pytest.raises(RefusedError, match="Too many arrays and objects"):
        checked_body(b'{"a": [' + b"[]," * (MAX_PARTS - 1) + b"]}")


def test_a_retry_is_worth_while_after_whole_seconds() -> None:
    assert [RefusedError(429, "slowly", retry_s).headers["Retry-After"] for retry_s in (2.1, 0.2)] == ["3", "1"]


KEY, OTHER = "a" * 64, "b" * 64

KEYS_IN: list[tuple[dict[str, Any], str]] = [({"data": [KEY, OTHER]}, KEY), ({"data": {"key": KEY}}, KEY)]
KEYS_IN += [({"data": value}, "") for value in ([3, KEY], [], KEY)]
KEYS_IN += [({"data": {}, "event_data": {"key": OTHER}}, OTHER), ({"event_data": [KEY]}, ""), ({}, "")]
KEYS_IN += [({"data": [one], "event_data": {"key": OTHER}}, key) for one, key in ((KEY, KEY), (KEY[1:], OTHER))]


@pytest.mark.parametrize(("body", "key"), KEYS_IN)
def test_the_key_is_found_wherever_gradio_puts_it(body: dict[str, Any], key: str) -> None:
    assert visitor_key_in(body) == key
