"""A connection that carries the messages of `hosted.py` between two processes, for where a call of Ray takes too long.

A message is a head of JSON, whose length comes first, and then arrays of float32 as they are. The far end listens on a
port, and takes whoever knows its key: it sends random bytes, and wants their keyed digest.
"""

from __future__ import annotations

import hmac
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import orjson

Arrays = list[np.ndarray | None]
Answer = Callable[[dict[str, Any]], tuple[dict[str, Any], Arrays]]

_GREET_S = 5.0  # for proving the key
_AGAIN_S = 0.1  # until a connection is accepted again
_LENGTH = struct.Struct("!I")
_NUM_RANDOM = 32
_MAX_HEAD_BYTES = 64 << 20


class ClosedError(OSError):
    """The other end is gone."""


def listen(address: str, key: bytes, answer: Answer) -> int:
    """Answer messages from threads, until the process ends. Returns the port.

    Args:
        answer: a message's head -> the reply's, and its arrays. May be called by several threads.
    """
    listener = socket.create_server((address, 0), family=_family(address))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                threading.Thread(target=_serve, args=(connection, key, answer), name="gac-channel", daemon=True).start()
            except (OSError, RuntimeError):  # too many open files, or threads: some may end
                time.sleep(_AGAIN_S)

    threading.Thread(target=accept, name="gac-channels", daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def _serve(connection: socket.socket, key: bytes, answer: Answer) -> None:
    with connection, suppress(OSError, ValueError):  # peer disconnected or failed authentication
        connection.settimeout(_GREET_S)
        challenge = os.urandom(_NUM_RANDOM)
        connection.sendall(challenge)
        if not hmac.compare_digest(_received(connection, _NUM_RANDOM), _proof(key, challenge)):
            return
        connection.settimeout(None)
        _speed_up(connection)
        while True:
            head, arrays = answer(_received_head(connection))
            shapes = [None if array is None else array.shape for array in arrays]
            _send_head(connection, {**head, "shapes": shapes})
            for array in arrays:
                if array is not None:
                    connection.sendall(np.ascontiguousarray(array, np.float32).data.cast("B"))


class Channel:
    """The asking end. One thread uses it.

    Args:
        look_s: after so long without an answer, `on_silence` is called, again and again.

    Raises:
        OSError: nobody listens there, or the key is another.
    """

    def __init__(self, address: str, port: int, key: bytes, look_s: float) -> None:
        self._socket = socket.create_connection((address, port), _GREET_S)
        _speed_up(self._socket)
        try:
            self._socket.sendall(_proof(key, bytes(_received(self._socket, _NUM_RANDOM))))
        except BaseException:
            self.close()
            raise
        self._socket.settimeout(look_s)

    def ask(self, head: dict[str, Any], on_silence: Callable[[], None]) -> tuple[dict[str, Any], Arrays]:
        """The answer to a message. After any error the channel is of no use. Raises OSError."""
        _send_head(self._socket, head)
        told = _received_head(self._socket, on_silence)
        arrays: Arrays = []
        for shape in told["shapes"]:
            array = None if shape is None else np.empty(shape, np.float32)
            if array is not None:
                _receive(self._socket, array.data.cast("B"), on_silence)
            arrays.append(array)
        return told, arrays

    def close(self) -> None:
        self._socket.close()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _speed_up(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _proof(key: bytes, challenge: bytes) -> bytes:
    return hmac.digest(key, challenge, "sha256")


def _send_head(connection: socket.socket, head: dict[str, Any]) -> None:
    body = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    connection.sendall(_LENGTH.pack(len(body)) + body)


def _received_head(connection: socket.socket, on_silence: Callable[[], None] | None = None) -> dict[str, Any]:
    [length] = _LENGTH.unpack(_received(connection, _LENGTH.size, on_silence))
    if length > _MAX_HEAD_BYTES:
        raise ValueError(f"a message of {length:,} bytes")
    head: dict[str, Any] = orjson.loads(_received(connection, length, on_silence))
    return head


def _received(connection: socket.socket, length: int, on_silence: Callable[[], None] | None = None) -> bytearray:
    found = bytearray(length)
    _receive(connection, memoryview(found), on_silence)
    return found


def _receive(connection: socket.socket, into: memoryview, on_silence: Callable[[], None] | None) -> None:
    """Fill `into`."""
    while into:
        try:
            num = connection.recv_into(into)
        except TimeoutError:
            if on_silence is None:
                raise
            on_silence()
            continue
        if not num:
            raise ClosedError("the other end has closed the connection")
        into = into[num:]
