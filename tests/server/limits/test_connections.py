"""Connections that send nothing, or half of something, or are too many."""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from unittest.mock import Mock

import h11
import pytest
import uvicorn
from fastapi.responses import PlainTextResponse, StreamingResponse
from uvicorn.server import ServerState

from gac_app.config import ServerConfig
from gac_app.server.host import bare_host
from gac_app.server.limits import connections
from gac_app.services.queue.shares import client_of
from tests.fakes import WAIT_S
from tests.server.fakes import FakeService
from tests.server.site import served
from tests.services.house import until

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\n"  # answered once the body is whole
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = 50_000_000  # bytes, more than a system buffers


@pytest.fixture
def loops_are_free() -> None:
    """Not where an answer of 50 MB is one piece."""


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a connection is to be cut off; other tests leave a busy machine its time."""
    monkeypatch.setattr(connections, "REQUEST_S", 0.3)
    monkeypatch.setattr(connections, "UNREAD_S", 0.3)


@pytest.fixture
def streamed() -> list[bytes]:
    """The pieces of a stream that were handed to the connection."""
    return []


async def noted(sent: list[bytes]) -> AsyncIterator[bytes]:
    for _ in range(LARGE // 100_000):
        sent.append(b"x" * 100_000)
        yield sent[-1]


@pytest.fixture
def address(streamed: list[bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(connections, "PER_VISITOR", 4)
    config = ServerConfig(visitors_per_client=2, max_connections=12)
    host = bare_host(FakeService(), config)  # type: ignore[arg-type]
    host.add_api_route("/large", lambda: PlainTextResponse("x" * LARGE))
    host.add_api_route("/stream", lambda: StreamingResponse(noted(streamed)))
    with served(host, config) as url:
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


def read_all(connection: socket.socket) -> bytes:
    """What comes until the host closes the connection."""
    connection.settimeout(WAIT_S)
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(1_000_000):
            parts.append(part)
    return b"".join(parts)


def first_line(connection: socket.socket) -> bytes:
    connection.settimeout(WAIT_S)
    connection.sendall(GET)
    return connection.recv(1000).partition(b"\r\n")[0]


HALVES = [b"", b"GET / HT", GET[:-2], GET + b"GET / HT", POST + CHUNKED + b"5\r\nhello\r\n"]
HALVES += [before + POST + b"Content-Length: 100\r\n\r\nfew" for before in (b"", GET)]


@pytest.mark.parametrize("sent", HALVES)
@pytest.mark.usefixtures("hasty")
def test_half_of_a_request_is_not_waited_for_without_end(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        read_all(connection)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: a\nHost: localhost\r\n\r\n",
        POST + b"Content-Length: 2\r\n" + CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("before", [b"", GET])
def test_a_request_that_servers_read_differently_is_refused(
    address: tuple[str, int], before: bytes, sent: bytes
) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(before + sent + GET)
        answers = read_all(connection)
    refused = answers.removeprefix(answers[: answers.find(b"HTTP/1.1", 1)]) if before else answers
    assert answers.count(b"HTTP/1.1 ") == (2 if before else 1)
    assert refused.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))


def test_a_body_may_hold_bare_line_feeds(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(POST + b"Connection: close\r\nContent-Length: 5\r\n\r\na\n\nb\n")
        assert b"Invalid JSON" in read_all(connection)


@pytest.mark.parametrize("num_bytes", [1, 1100])
def test_a_body_in_tiny_chunks_is_refused(address: tuple[str, int], num_bytes: int) -> None:
    chunk = b"%x\r\n%s\r\n" % (num_bytes, b"a" * num_bytes)
    with socket.create_connection(address) as connection:
        connection.sendall(POST + b"Connection: close\r\n" + CHUNKED + chunk * 400 + b"0\r\n\r\n")
        assert (b"Invalid HTTP request" in read_all(connection)) == (num_bytes == 1)


def test_chunks_after_the_answer_are_not_parsed(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    parsed, receive = list[bytes](), connections.StrictConnection.receive_data
    monkeypatch.setattr(connections.StrictConnection, "receive_data", lambda *of: (parsed.append(of[1]), receive(*of)))
    with socket.create_connection(address) as connection:
        for head, body in (  # after a body of a length, the connection serves the next request
            (b"Content-Length: 300000\r\n\r\n", b"a" * 300_000),
            (CHUNKED, b"400\r\n%1024d\r\n" % 0 * 300),
        ):
            connection.sendall(GET[:-2] + head)
            assert b"200 OK" in connection.recv(15, socket.MSG_WAITALL)
            while not connection.recv(1000).endswith(b"}"):
                pass
            connection.sendall(body)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
    assert 300_000 < sum(map(len, parsed)) < 301_000


@pytest.mark.parametrize("num_lines", [60, 2000])
@pytest.mark.parametrize("before", [GET[:-2], POST + CHUNKED + b"1\r\na\r\n0\r\n"], ids=["head", "trailers"])
def test_many_lines_of_a_head_or_trailers_are_refused(address: tuple[str, int], before: bytes, num_lines: int) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(before.replace(b"localhost\r\n", b"localhost\r\nConnection: close\r\n"))
        connection.sendall(b"a:\r\n" * num_lines + b"\r\n")
        assert (b"Invalid HTTP request" in read_all(connection)) == (num_lines == 2000)


@pytest.mark.usefixtures("hasty")
def test_an_answer_that_nobody_reads_is_cut_off(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    has_left, leave = threading.Event(), connections.Connections.leave
    monkeypatch.setattr(connections.Connections, "leave", lambda *args: (leave(*args), has_left.set()))
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert has_left.wait(WAIT_S)  # a reader would say that there is one
        assert len(read_all(connection)) < LARGE


@pytest.mark.parametrize("does_read_on", [True, False])
def test_who_reads_on_is_not_cut_off(does_read_on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.05)
    kind = connections.limited_protocol(connections.Connections(ServerConfig()))

    async def is_cut_off() -> bool:
        transport, ended = Mock(), asyncio.Event()
        transport.abort = ended.set
        protocol = kind(uvicorn.Config(bare_host(FakeService(), ServerConfig())), ServerState(), {})  # type: ignore[arg-type]
        protocol.connection_made(transport)
        protocol.pause_writing()
        if does_read_on:
            protocol.resume_writing()
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), 0.3 if does_read_on else WAIT_S)
        return ended.is_set()

    assert asyncio.run(is_cut_off()) != does_read_on


def test_a_slow_reader_costs_little_and_gets_all_of_it(address: tuple[str, int], streamed: list[bytes]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        num_before = -1
        while len(streamed) != num_before or not streamed:
            num_before = len(streamed)
            time.sleep(0.1)
        assert 100_000 * len(streamed) < LARGE / 2, "it is made as it is read; the rest is in the system's buffers"
        with socket.create_connection(address) as neighbour:
            assert first_line(neighbour) == b"HTTP/1.1 200 OK"
        assert len(read_all(connection)) > LARGE


@pytest.mark.usefixtures("hasty")
def test_drops_that_keep_coming_win_no_time(address: tuple[str, int]) -> None:
    def drip(connection: socket.socket) -> None:
        for byte in GET * 2:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    with socket.create_connection(address) as connection, pytest.raises(ConnectionError):
        drip(connection)


def test_a_client_has_its_share_of_connections(address: tuple[str, int]) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(address)) for _ in range(8)]
        assert [first_line(connection) for connection in opened] == [b"HTTP/1.1 200 OK"] * 8
        one_more = stack.enter_context(socket.create_connection(address))
        assert one_more.recv(1000).startswith(b"HTTP/1.1 503")
        for connection in opened:
            connection.close()
        until(lambda: first_line(stack.enter_context(socket.create_connection(address))) == b"HTTP/1.1 200 OK")


def test_connections_leave_handles_to_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    num, given = connections.SPARE_HANDLES + 12, list[tuple[int, int]]()
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    for limits in ((num // 2, num), (num, num), (20_000, resource.RLIM_INFINITY), (num, resource.RLIM_INFINITY)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=limits: limits)
        connections.Connections(ServerConfig())
    assert given == [(num, num), (connections.MANY_HANDLES, resource.RLIM_INFINITY)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (num, num))
    counted = connections.Connections(ServerConfig())
    assert [counted.enter(partial(print, n), f"192.0.2.{n}") for n in range(20)] == [True] * 12 + [False] * 8


def test_where_it_is_full_the_address_with_most_loses_one() -> None:
    config = ServerConfig(visitors_per_client=1, max_connections=10, trusted_proxies=("10.0.0.9",))
    counted, ended = connections.Connections(config), list[int]()
    ends = [partial(ended.append, number) for number in range(100)]

    def enter(address: str, *numbers: int) -> list[bool]:
        return [counted.enter(ends[number], address) for number in numbers]

    assert enter("192.0.2.1", *range(9)) == [True] * 8 + [False]
    assert enter("10.0.0.9", 10, 11) == [True, True], "a proxy stands for many"
    assert enter("192.0.2.2", 20) == [True]
    assert ended == [7], "the newest of the address with most"
    assert enter("192.0.2.1", 7) == [False]
    assert enter("10.0.0.9", 12) == [True], "whose it is is known with its request"
    assert [counted.count(ends[number], client_of("192.0.2.2")) for number in (10, 12)] == [True] * 2
    assert enter("192.0.2.2", 21) == [True]
    assert ended == [7, 6, 5]
    assert enter("192.0.2.2", 22) == [False], "5 and 4 are alike"
    counted.leave(ends[0])
    assert enter("192.0.2.2", 22) == [True], "there is room again"
    assert ended == [7, 6, 5]


def test_a_proxy_with_most_connections_loses_none() -> None:
    config = ServerConfig(visitors_per_client=1, max_connections=10, trusted_proxies=("10.0.0.9",))
    counted, ended = connections.Connections(config), list[int]()
    num = 10 + connections.UNASKED
    entered = [counted.enter(partial(ended.append, number), "10.0.0.9") for number in range(num + 1)]
    assert entered == [True] * num + [False]
    assert not counted.enter(partial(ended.append, num), "192.0.2.1")
    assert ended == []


def test_two_addresses_behind_a_proxy_shut_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PER_VISITOR", 4)
    config = ServerConfig(visitors_per_client=2, max_connections=12, trusted_proxies=("127.0.0.1",))
    host = bare_host(FakeService(), config)  # type: ignore[arg-type]
    host.add_api_route("/stream", lambda: StreamingResponse(noted([])))

    sockets = list[socket.socket]()

    def opened(number: int, path: str = "/stream") -> bytes:
        sockets.append(connection := stack.enter_context(socket.create_connection(address)))
        connection.settimeout(WAIT_S)
        head = GET.replace(b"/healthz", path.encode())[:-2]
        connection.sendall(head + b"X-Forwarded-For: 192.0.2.%d\r\n\r\n" % number)
        return connection.recv(15, socket.MSG_WAITALL)[9:]

    with served(host, config) as url, ExitStack() as stack:
        name, port = url.removeprefix("http://").split(":")
        address = (name, int(port))
        assert [opened(1) for _ in range(9)] == [b"200 OK"] * 8 + [b"503 Se"]
        assert b"connection: close" in read_all(sockets[-1]).lower(), "it is not counted any more"
        assert [opened(2) for _ in range(6)] == [b"200 OK"] * 6
        assert [opened(3, "/healthz") for _ in range(4)] == [b"200 OK"] * 4


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("line", [b"a: b\r\n", b"a: b\n"])
def test_a_bare_line_feed_is_found_in_pieces_of_any_size(size: int, line: bytes) -> None:
    """In a head: a body may have some."""
    sent = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n" + line + b"\r\n{\n\n\n\n\n\n}\n"
    connection, found = connections.StrictConnection(), list[object]()
    with suppress(h11.RemoteProtocolError):
        for start in range(0, len(sent), size):
            connection.receive_data(sent[start : start + size])
            found += [connection.next_event() for _ in range(3)]
    assert any(isinstance(event, h11.EndOfMessage) for event in found) == (line == b"a: b\r\n")


def test_a_head_in_single_bytes_takes_little_time() -> None:
    connection = connections.StrictConnection()
    before = time.thread_time()
    for byte in b"GET / HTTP/1.1\r\nX: " + b"a" * 24_000:
        connection.receive_data(bytes([byte]))
        connection.next_event()
    assert time.thread_time() - before < 2
