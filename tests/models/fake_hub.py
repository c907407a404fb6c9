"""A Hugging Face Hub of one repository on the loopback: enough of its HTTP interface for downloads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.models.loopback import serving

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
        with serving(_handler(self)) as address:
            self.endpoint = address
            yield self

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, body, headers."""
        if path == f"/api/models/{self.repo}/revision/main":
            siblings = [{"rfilename": name} for name in self.files]
            return 200, json.dumps({"id": self.repo, "sha": COMMIT, "siblings": siblings}).encode(), {}
        if path == f"/api/models/{self.repo}/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}  # noqa: S324
                for name, data in self.files.items()
            ]
            return 200, json.dumps(tree).encode(), {}
        file = re.fullmatch(rf"/{self.repo}/resolve/(?:main|{COMMIT})/(.+)", path)
        if file and file[1] in self.files:
            data = self.files[file[1]]
            etag = hashlib.sha1(data).hexdigest()  # noqa: S324
            return 200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
        if file:
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        code = "RepoNotFound" if not path.startswith(f"/api/models/{self.repo}") else "RevisionNotFound"
        return 404, b"{}", {"X-Error-Code": code}


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(has_body=True)

        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def _answer(self, has_body: bool) -> None:
            path = urlsplit(self.path).path
            hub.requests.append(f"{self.command} {path}")
            status, body, headers = hub.answer(path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if has_body:
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    return Handler
