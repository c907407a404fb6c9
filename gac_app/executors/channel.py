"""A connection that carries the messages of `hosted.py` between two processes, for where a call of Ray takes too long.

A message is a head of JSON, and then arrays of float32 as they are; nothing is unpickled. The far end listens on a
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
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import orjson

Arrays = list[np.ndarray]
Answer = Callable[[dict[str, Any]], tuple[dict[str, Any], Arrays]]

_GREET_S = 5.0  # for proving the key
_AGAIN_S = 0.1  # until a connection is accepted again
_NUM_RANDOM = 32
_MAX_HEAD_BYTES = 64 << 20


def listen(address: str, key: bytes, answer: Answer) -> int:
    """Answer messages from threads, until the process ends. Returns the port.

    Args:
        answer: a message's head -> the reply's, and its arrays. May be called by several threads.
    """
    listener = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)

    def accept() -> None:
        while True:
            try:
                connection = _over(listener.accept()[0], _GREET_S)
                threading.Thread(target=_serve, args=(connection, key, answer), name="gac-channel", daemon=True).start()
            except (OSError, RuntimeError):  # too many open files, or threads: some may end
                time.sleep(_AGAIN_S)

    threading.Thread(target=accept, name="gac-channels", daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def _serve(connection: Connection, key: bytes, answer: Answer) -> None:
    with connection, suppress(OSError, EOFError, ValueError):  # peer disconnected or failed authentication
        connection.send_bytes(challenge := os.urandom(_NUM_RANDOM))
        if not hmac.compare_digest(connection.recv_bytes(_NUM_RANDOM), _proof(key, challenge)):
            return
        while connection.poll(None):
            head, arrays = answer(orjson.loads(connection.recv_bytes(_MAX_HEAD_BYTES)))
            connection.send_bytes(orjson.dumps({**head, "shapes": [array.shape for array in arrays]}))
            for array in arrays:
                connection.send_bytes(np.ascontiguousarray(array, np.float32).data)


class Channel:
    """The asking end. One thread uses it.

    Args:
        look_s: after so long without an answer, `on_silence` is called, again and again; amid a message once.

    Raises:
        OSError: nobody listens there, or the key is another.
    """

    def __init__(self, address: str, port: int, key: bytes, look_s: float) -> None:
        self._look_s = look_s
        self._connection = _over(socket.create_connection((address, port), _GREET_S), look_s)
        self.close = self._connection.close
        try:
            if not self._connection.poll(_GREET_S):
                raise TimeoutError
            self._connection.send_bytes(_proof(key, self._connection.recv_bytes(_NUM_RANDOM)))
        except (OSError, EOFError) as error:
            self.close()
            raise ConnectionError("the other end has not greeted") from error

    def ask(self, head: dict[str, Any], on_silence: Callable[[], None]) -> tuple[dict[str, Any], Arrays]:
        """The answer to a message. After any error the channel is of no use. Raises OSError."""
        try:
            self._connection.send_bytes(orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY))
            while not self._connection.poll(self._look_s):
                on_silence()
            told = orjson.loads(self._connection.recv_bytes(_MAX_HEAD_BYTES))
            return told, [self._array(shape) for shape in told["shapes"]]
        except BlockingIOError as error:  # silent amid a message, of which a part is lost with that
            on_silence()
            raise ConnectionError("a message broke off") from error
        except EOFError as error:
            raise ConnectionError("the other end has closed the connection") from error

    def _array(self, shape: list[int]) -> np.ndarray:
        return np.frombuffer(self._connection.recv_bytes(), np.float32).reshape(shape)


def _over(found: socket.socket, within_s: float) -> Connection:
    """A connection over a socket. A message that has begun, and does not go on within this time, is an OSError."""
    found.settimeout(None)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seconds = int(within_s)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        found.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, int(1e6 * (within_s - seconds))))
    return Connection(found.detach())


def _proof(key: bytes, challenge: bytes) -> bytes:
    return hmac.digest(key, challenge, "sha256")
