"""Limits the number and duration of connections, and refuses requests that a proxy may read otherwise.

Without the limits, uvicorn waits forever for the rest of a request, and one client can hold all connections.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from h11._receivebuffer import ReceiveBuffer
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from gac_app.config import ServerConfig
from gac_app.services.queue.shares import client_of

REQUEST_S = 20.0  # from the connection, or a request's first byte, to the request's last
MAX_HEAD_BYTES, MAX_LINES = 32_768, 128  # of a head, or of trailers; parsing 16,000 lines takes 50 ms
MAX_TINY_CHUNKS, CHUNK_BYTES = 64, 1024  # a body may have so many chunks more than one for each so many bytes
UNREAD_S = 30.0  # an answer of which nothing is read for so long is cut off
PER_VISITOR = 8  # a browser opens at most six
SPARE_HANDLES = 128  # for the database's files, members and what they fetch; without any, all of these would fail
UNASKED = 32  # of them for proxies' connections on a full host, until a request tells whose they are
COUNT = "count_connection"  # in the state of a request: counts its connection as a client's
MANY_HANDLES = 10_240  # macOS gives no more
_BARE_LF = re.compile(rb"(?<!\r)\n")
_HEAD_END = re.compile(rb"\n\r?\n")
FULL_S = 10  # to wait before another try
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: %d\r\nConnection: close\r\n\r\n" % FULL_S
)


def _max_handles() -> int:
    """The number of files and connections that this process may have open. Many shells give fewer than they may: that
    is raised, because a burst of connections is accepted before the first of them is refused.
    """
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (sys.maxsize if most == resource.RLIM_INFINITY else most for most in limits)
    if soft < (wanted := min(hard, MANY_HANDLES)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, limits[1]))
    return max(soft, wanted)


class Connections:
    """Counts the connections of a host. One belongs to the address of its latest request, as a trusted proxy says it.
    Where the host is full, the address with most loses its newest one to an address with fewer.

    Args:
        config: the total limit, the number of visitors per address, and the trusted proxies. A connection of theirs
            belongs to nobody until its first request.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._max = min(config.max_connections, max(PER_VISITOR, _max_handles() - SPARE_HANDLES))
        self._max_of_client = min(self._max, PER_VISITOR * config.visitors_per_client)
        self._proxies = ProxyHeadersMiddleware(None, list(config.trusted_proxies)).trusted_hosts  # type: ignore[arg-type]
        self._client: dict[Callable[[], None], str] = {}
        self._of: dict[str, dict[Callable[[], None], None]] = {}  # by client, oldest first

    def enter(self, end: Callable[[], None], address: str) -> bool:
        """Count a new connection, which `end` ends, as its address's. False if there is no room; it is not counted."""
        return self.count(end, "" if address in self._proxies else client_of(address))

    def count(self, end: Callable[[], None], client: str) -> bool:
        """Count a connection as a client's from now on; "" = not known yet. False as of `enter`."""
        if self._client.get(end) == client:
            return True
        if end in self._client:
            self.leave(end)
        num_own, num = len(self._of.get(client, ())), len(self._client)
        if client:
            has_room = num_own < self._max_of_client and (num < self._max or self._end_one(num_own))
        else:
            has_room = num < self._max + UNASKED
        if has_room:
            self._client[end] = client
            self._of.setdefault(client, {})[end] = None
        return has_room

    def _end_one(self, num_own: int) -> bool:
        """End a connection of the client with most, for one with `num_own`. False if that has hardly fewer."""
        named = {client: own for client, own in self._of.items() if client}
        most = max(named.values(), key=len, default={})
        if len(most) <= num_own + 1:
            return False
        end, _ = most.popitem()
        del self._client[end]
        end()
        return True

    def leave(self, end: Callable[[], None]) -> None:
        """A connection has ended."""
        client = self._client.pop(end, "")
        own = self._of.get(client, {})
        own.pop(end, None)
        if not own:
            self._of.pop(client, None)


class _FewLines(ReceiveBuffer):
    """Refuses a head, or trailers, of too many lines before they are split."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        if self._data.count(b"\n", 0, self._data.find(b"\n\r\n")) > MAX_LINES:
            raise h11.RemoteProtocolError("too many lines")
        return super().maybe_extract_lines()


class StrictConnection(h11.Connection):
    """h11's parser without its leniency: a request whose end servers disagree on is none, nor is one that takes long
    to parse by its lines or chunks.

    A proxy in front may see two requests where h11 sees one, if lines end in a bare LF or if a request has both a
    Content-Length and a Transfer-Encoding (RFC 9112, section 6.3).
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self._receive_buffer = _FewLines()
        self._num_searched = 0  # bytes of a head that comes in pieces
        self._chunks_left = 0.0

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.their_state is h11.IDLE:
            received, _ = self.trailing_data
            end = _HEAD_END.search(received, max(0, self._num_searched - 3))
            if _BARE_LF.search(received, self._num_searched, end.end() if end else len(received)):
                raise h11.RemoteProtocolError("a line ends in a bare LF")
            self._num_searched = 0 if end else len(received)
            self._chunks_left = MAX_TINY_CHUNKS
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._chunks_left += len(event.data) / CHUNK_BYTES - event.chunk_start
            if self._chunks_left < 0:
                raise h11.RemoteProtocolError("a body comes in tiny chunks")
        if isinstance(event, h11.Request) and {b"content-length", b"transfer-encoding"} <= {
            n for n, _ in event.headers
        }:
            raise h11.RemoteProtocolError("a request has two lengths")
        return event


def limited_protocol(connections: Connections) -> type[H11Protocol]:
    """uvicorn's protocol, with connections counted and limited by `connections`."""

    class LimitedProtocol(H11Protocol):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.conn = StrictConnection()
            self._is_counted = False
            self._limits: dict[str, asyncio.TimerHandle] = {}  # that end the connection

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.app_state = {**self.app_state, COUNT: partial(connections.count, transport.abort)}
            self._is_counted = connections.enter(transport.abort, self.client[0] if self.client else "")
            if not self._is_counted:
                transport.write(_FULL)
                transport.close()
                return
            transport.set_write_buffer_limits(16_384)
            self._limit("request", REQUEST_S)

        def connection_lost(self, exc: Exception | None) -> None:
            self._lift("request")
            self._lift("unread")
            connections.leave(self.transport.abort)
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self._is_counted or self._has_answer():
                return
            self._limit("request", REQUEST_S)
            super().data_received(data)
            if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
                self._lift("request")

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.their_state is h11.SEND_BODY:  # pipelined, and its body is to come
                self._limit("request", REQUEST_S)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._limit("unread", UNREAD_S)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._lift("unread")

        def _has_answer(self) -> bool:
            """Whether the rest of an answered request comes in chunks: parsing them takes long, and nobody pays. They
            are dropped until the connection ends, as an idle one does, so that the sender can still read the answer.
            """
            is_rest = self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY
            return is_rest and b"transfer-encoding" in dict(self.headers)

        def _limit(self, name: str, seconds: float) -> None:
            """End the connection so much later, unless that is foreseen already, or lifted before."""
            if name not in self._limits:
                self._limits[name] = self.loop.call_later(seconds, self.transport.abort)

        def _lift(self, name: str) -> None:
            if timer := self._limits.pop(name, None):
                timer.cancel()

    return LimitedProtocol
