"""Connections that send nothing, or half of something, or are too many."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from gac_app.config import ServerConfig
from gac_app.server import connections
from gac_app.server.host import bare_host
from tests.fakes import WAIT_S
from tests.server.fakes import FakeService
from tests.server.site import served

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(connections, "REQUEST_S", 0.3)
    monkeypatch.setattr(connections, "PER_VISITOR", 4)
    config = ServerConfig(visitors_per_client=2, max_connections=12)
    with served(bare_host(FakeService(), config), config) as url:  # type: ignore[arg-type]
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


def wait_until_closed(connection: socket.socket) -> None:
    connection.settimeout(WAIT_S)
    with suppress(ConnectionResetError):
        while connection.recv(1000):
            pass


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", GET[:-2], b"POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nfew"],
)
def test_half_of_a_request_is_not_waited_for_without_end(address: tuple[str, int], sent: bytes) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        wait_until_closed(connection)


def test_nor_is_half_of_a_second_one(address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        connection.sendall(GET)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET / HT")
        wait_until_closed(connection)


def test_drops_that_keep_coming_win_no_time(address: tuple[str, int]) -> None:
    def drip(connection: socket.socket) -> None:
        for byte in GET * 2:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    with socket.create_connection(address) as connection, pytest.raises(ConnectionError):
        drip(connection)


def test_a_client_has_its_share_of_connections(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", WAIT_S)

    def first_line(connection: socket.socket) -> bytes:
        connection.settimeout(WAIT_S)
        connection.sendall(GET)
        return connection.recv(1000).partition(b"\r\n")[0]

    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(address)) for _ in range(8)]
        assert [first_line(connection) for connection in opened] == [b"HTTP/1.1 200 OK"] * 8
        one_more = stack.enter_context(socket.create_connection(address))
        assert one_more.recv(1000).startswith(b"HTTP/1.1 503")
        others = [
            stack.enter_context(socket.create_connection(address, source_address=(f"127.0.0.{number}", 0)))
            for number in range(2, 6)
        ]
        assert [first_line(connection) for connection in others] == [b"HTTP/1.1 200 OK"] * 4
        beyond_all = stack.enter_context(socket.create_connection(address, source_address=("127.0.0.9", 0)))
        assert beyond_all.recv(1000).startswith(b"HTTP/1.1 503")
        for connection in opened:
            connection.close()
        until = time.monotonic() + WAIT_S
        while first_line(stack.enter_context(socket.create_connection(address))) != b"HTTP/1.1 200 OK":
            assert time.monotonic() < until
