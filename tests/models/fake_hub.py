"""A Hugging Face Hub of one repository on the loopback: enough of its HTTP interface for downloads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.models.loopback import Answer, serving

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
