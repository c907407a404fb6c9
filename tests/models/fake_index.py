"""A Python package index on the loopback: enough of it for `pip download`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.models.loopback import Answer, serving


class FakeIndex:
    """`wheels` by file name."""

    url = ""

    def __init__(self, wheels: dict[str, bytes]) -> None:
        self.wheels = wheels

    @contextmanager
    def running(self) -> Iterator[FakeIndex]:
        with serving(self._answer) as address:
            self.url = f"{address}/simple"
            yield self

    def _answer(self, request: BaseHTTPRequestHandler, _: bytes) -> Answer | None:
        data = self.wheels.get(request.path.rpartition("/")[2])
        if data is None:
            links = "".join(f'<a href="/files/{wheel}">{wheel}</a>' for wheel in self.wheels)
            return 200, {"Content-Type": "text/html"}, links.encode()
        return 200, {"Content-Type": "application/octet-stream"}, data
