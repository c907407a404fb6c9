"""A Python package index on the loopback: enough of it for `pip download`, with a connection that breaks at will."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.models.loopback import serving


class FakeIndex:
    """`wheels` by file name.

    Attributes:
        cuts: wheels are cut off after so many bytes, one answer each; later answers are whole.
        starts: where in a wheel each answer began.
    """

    def __init__(self, wheels: dict[str, bytes], cuts: list[int]) -> None:
        self.wheels = wheels
        self.cuts = cuts
        self.starts: list[int] = []
        self.url = ""

    @contextmanager
    def running(self) -> Iterator[FakeIndex]:
        with serving(_handler(self)) as address:
            self.url = f"{address}/simple"
            yield self


def _handler(index: FakeIndex) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            if name in index.wheels:
                self._send_wheel(index.wheels[name])
            else:
                links = "".join(f'<a href="/files/{wheel}">{wheel}</a>' for wheel in index.wheels)
                self._send(200, links.encode(), {"Content-Type": "text/html"})

        def _send_wheel(self, data: bytes) -> None:
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(wanted[1]) if wanted else 0
            index.starts.append(start)
            headers = {"ETag": '"wheel"', "Content-Type": "application/octet-stream"}
            if wanted:
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._send(206 if wanted else 200, data[start:], headers, index.cuts.pop(0) if index.cuts else None)

        def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[:cut])
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            """Quiet."""

    return Handler
