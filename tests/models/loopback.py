"""An HTTP server on the loopback, for fakes of what models are fetched from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POLL_S = 0.01  # how soon it sees that it is to stop

Answer = tuple[int, Mapping[str, str], bytes]  # status, headers, body


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler, bytes], Answer | None]) -> Iterator[str]:
    """Its address, as long as the body runs.

    Args:
        answer: to a request with this body; None = the connection breaks off. A `Content-Length` of its own may say
            more than it sends.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))
            if found is None:
                self.close_connection = True
                return
            status, headers, body = found
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection |= "Content-Length" in headers

        do_HEAD = do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
