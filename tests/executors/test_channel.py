"""What a channel carries arrives as it was, for who knows its key. Who waits learns that the other end is gone."""

from __future__ import annotations

import errno
import socket
import threading
from contextlib import closing, suppress
from typing import Any

import numpy as np
import pytest

from gac_app.executors import channel as channel_module
from gac_app.executors.channel import Arrays, Channel, listen
from tests.fakes import WAIT_S

HOME, KEY = "127.0.0.1", b"k" * 32


def mirrored(head: dict[str, Any]) -> tuple[dict[str, Any], Arrays]:
    return {"told": head["text"]}, [np.arange(size, dtype=np.float32).reshape(2, -1) for size in head["sizes"]]


def fail() -> None:
    raise AssertionError("it was not silent")


def test_messages_arrive_as_they_were() -> None:
    port = listen(HOME, KEY, mirrored)
    with closing(Channel(HOME, port, KEY, WAIT_S)) as channel:
        for sizes in ([], [4], [600_000, 2]):
            told, arrays = channel.ask({"text": "é\n日", "sizes": sizes}, fail)
            assert told["told"] == "é\n日"
            for size, array in zip(sizes, arrays, strict=True):
                assert np.array_equal(array, np.arange(size).reshape(2, -1))
        assert channel.ask({"text": "", "sizes": [np.int64(2)]}, fail)[1]


def test_it_listens_on_after_it_had_too_many_files_open(monkeypatch: pytest.MonkeyPatch) -> None:
    failures, accept = [OSError(errno.EMFILE, "too many open files")], socket.socket.accept

    def accept_or_fail(listener: socket.socket) -> tuple[socket.socket, Any]:
        if failures:
            raise failures.pop()
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", accept_or_fail)
    port = listen(HOME, KEY, mirrored)
    with closing(Channel(HOME, port, KEY, WAIT_S)) as channel:
        assert channel.ask({"text": "", "sizes": []}, fail)[1] == []
    assert not failures


def test_only_who_knows_the_key_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are refused by the length that they announce, before they send anything."""
    monkeypatch.setattr(channel_module, "_GREET_S", 2 * WAIT_S)
    asked = list[object]()

    def answer(head: dict[str, Any]) -> tuple[dict[str, Any], Arrays]:
        asked.append(head)
        return {}, []

    port = listen(HOME, KEY, answer)
    with closing(Channel(HOME, port, b"x" * 32, WAIT_S)) as channel, pytest.raises(OSError, match=r"closed|reset"):
        channel.ask({}, fail)
    for said in (b"GET / HTTP/1.1\r\n", framed(b"") + framed(b"{}")):
        with socket.create_connection((HOME, port)) as nobody:
            nobody.sendall(said)
            nobody.settimeout(WAIT_S)
            with suppress(ConnectionResetError):
                while nobody.recv(4096):
                    pass
    assert not asked
    with closing(Channel(HOME, port, KEY, WAIT_S)) as channel:
        assert channel.ask({}, fail) == ({"shapes": []}, [])


def test_silence_is_told_until_the_answer_comes() -> None:
    released, silences = threading.Event(), list[int]()

    def answer(head: dict[str, Any]) -> tuple[dict[str, Any], Arrays]:
        assert released.wait(WAIT_S)
        return {}, [np.ones((1, 3), np.float32)]

    def note() -> None:
        silences.append(1)
        if len(silences) == 3:
            released.set()

    with closing(Channel(HOME, listen(HOME, KEY, answer), KEY, 0.01)) as channel:
        _, [array] = channel.ask({}, note)
        assert array.tolist() == [[1, 1, 1]]
    assert len(silences) >= 3


def cut(said: bytes, *, is_gone: bool) -> int:
    """The port of an end that greets, says something, and is gone or silent."""
    server = socket.create_server((HOME, 0))

    def serve() -> None:
        connection, _ = server.accept()
        with server, connection:
            connection.sendall(framed(b"0" * 32) + said)
            if is_gone:
                connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass

    threading.Thread(target=serve, daemon=True).start()
    port: int = server.getsockname()[1]
    return port


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


HALF = framed(b'{"shapes":[[1,9]]}') + framed(b"0" * 36)[:-16]


@pytest.mark.parametrize(("said", "is_gone"), [(b"", True), (HALF, True), (HALF, False)])
def test_an_end_that_is_gone_is_told(said: bytes, is_gone: bool) -> None:
    """One that is silent amid a message too."""
    silences = list[int]()
    channel = Channel(HOME, cut(said, is_gone=is_gone), KEY, WAIT_S if is_gone else 0.05)
    with closing(channel), pytest.raises(OSError, match=r"closed|end of file|broke off"):
        channel.ask({}, lambda: silences.append(1))
    assert len(silences) == (not is_gone)
