"""A Python package index on the loopback: enough of it for `pip download`, with a connection that breaks at will."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.models.loopback import Answer, serving


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
        with serving(self._answer) as address:
            self.url = f"{address}/simple"
            yield self

    def _answer(self, request: BaseHTTPRequestHandler, _: bytes) -> Answer | None:
        data = self.wheels.get(request.path.rpartition("/")[2])
        if data is None:
            links = "".join(f'<a href="/files/{wheel}">{wheel}</a>' for wheel in self.wheels)
            return 200, {"Content-Type": "text/html"}, links.encode()
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.starts.append(start)
        headers = {"ETag": '"wheel"', "Content-Type": "application/octet-stream"}
        headers["Content-Length"] = str(len(data) - start)
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return 206 if wanted else 200, headers, data[start:][: self.cuts.pop(0) if self.cuts else None]
