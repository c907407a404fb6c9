"""HTTP servers on the loopback: as much of a hub, and of a package index, as downloads need."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

POLL_S = 0.01  # how soon it sees that it is to stop

Answer = tuple[int, Mapping[str, str], bytes]  # status, headers, body


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler, bytes], Answer | None]) -> Iterator[str]:
    """Its address, as long as the body runs. If `answer` gives None, the connection breaks off; a `Content-Length` of
    its own may say more than it sends.
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


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """`files` by path; every request's method and path is kept in `requests`."""

    def __init__(self, repo: str, files: dict[str, bytes]) -> None:
        self.repo = repo
        self.files = files
        self.requests: list[str] = []
        self.endpoint = ""

    @contextmanager
    def running(self) -> Iterator[FakeHub]:
        with serving(self._answer) as self.endpoint:
            yield self

    def _answer(self, request: BaseHTTPRequestHandler, _: bytes) -> Answer:
        path = urlsplit(request.path).path
        if path != "/api/agent-harnesses":  # the client's own question, once a day, where it runs under an agent
            self.requests.append(f"{request.command} {path}")
        if path == f"/api/models/{self.repo}/revision/main":
            siblings = [{"rfilename": name} for name in self.files]
            return 200, {}, json.dumps({"id": self.repo, "sha": COMMIT, "siblings": siblings}).encode()
        if path == f"/api/models/{self.repo}/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}  # noqa: S324
                for name, data in self.files.items()
            ]
            return 200, {}, json.dumps(tree).encode()
        file = re.fullmatch(rf"/{self.repo}/resolve/(?:main|{COMMIT})/(.+)", path)
        if file and file[1] in self.files:
            data = self.files[file[1]]
            etag = hashlib.sha1(data).hexdigest()  # noqa: S324
            return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, data
        if file:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        code = "RepoNotFound" if not path.startswith(f"/api/models/{self.repo}") else "RevisionNotFound"
        return 404, {"X-Error-Code": code}, b"{}"


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
