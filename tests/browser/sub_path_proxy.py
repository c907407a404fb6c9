"""A reverse proxy that shows a site under a sub-path, as nginx does with `proxy_pass` and `X-Forwarded-Prefix`."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer

PREFIX = "/demo"
_MAX_HEAD = 65_536


class _Proxy(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    target = 0  # port
    outside: list[str]  # paths that do not begin with the prefix


class _Handler(BaseRequestHandler):
    """One request of a connection. What is not below the prefix belongs to another site."""

    server: _Proxy

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _MAX_HEAD:
            if not (data := self.request.recv(_MAX_HEAD)):
                return
            head += data
        first, *lines = head.split(b"\r\n")
        method, path, version = first.split(b" ")
        if not path.startswith(PREFIX.encode() + b"/"):
            self.server.outside.append(path.decode())
            self.request.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            return
        added = [b"Connection: close", b"X-Forwarded-Proto: http", f"X-Forwarded-Prefix: {PREFIX}".encode()]
        kept = [line for line in lines if not line.lower().startswith(b"connection:")]
        stripped = b" ".join((method, path.removeprefix(PREFIX.encode()), version))
        with closing(socket.create_connection(("127.0.0.1", self.server.target))) as upstream:
            upstream.sendall(b"\r\n".join([stripped, *added, *kept]))
            threading.Thread(target=_copy, args=(self.request, upstream), daemon=True).start()
            _copy(upstream, self.request)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_MAX_HEAD):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)  # else the host would wait half a minute for streams that were left


@contextmanager
def below_prefix(url: str) -> Iterator[tuple[str, list[str]]]:
    """Address of the site under a sub-path, and the paths outside it that are asked for."""
    with _Proxy(("127.0.0.1", 0), _Handler) as proxy:
        proxy.outside = []
        proxy.target = int(url.rstrip("/").rpartition(":")[2])
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_address[1]}{PREFIX}/", proxy.outside
        proxy.shutdown()
        thread.join()
