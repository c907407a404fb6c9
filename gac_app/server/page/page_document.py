"""Keeps the page's documents: Gradio takes some hundredths of a second to write them, and does not compress them."""

from __future__ import annotations

import gzip
from collections import OrderedDict
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gac_app.server.limits.callers import Callers, client_in
from gac_app.ui.requests import ACCOUNT

PATHS = ("/", "/config")
MAX_KEPT = 16  # of all addresses under which the page is reached
COST = 40  # requests that count for one that has to be written: a client may invent addresses
_PIECE_BYTES = 16_384  # the server waits for the reader between two of them
# The document names the page's address, which Gradio takes from these.
_ADDRESS = ("host", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix")


@dataclass(frozen=True, slots=True)
class _Document:
    status: int
    media_type: bytes
    body: bytes
    zipped: bytes


class PageDocument:
    """Middleware: answers `PATHS` from memory, except to those who are signed in, whose document names them.

    Raises:
        RefusedError: (429) where a client asks for too many that are not kept.
    """

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self.app, self._callers = app, callers
        self._kept: OrderedDict[tuple[str, ...], _Document] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and scope["method"] == "GET" and (scope["path"].rstrip("/") or "/") in PATHS
        if not is_page or scope.get("state", {}).get(ACCOUNT):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        document = await self._document(scope, receive, headers)
        is_zipped = "gzip" in headers.get("accept-encoding", "")
        body = document.zipped if is_zipped else document.body
        sent = [(b"content-type", document.media_type), (b"content-length", str(len(body)).encode())]
        sent += [(b"vary", b"Accept-Encoding"), *([(b"content-encoding", b"gzip")] if is_zipped else [])]
        await send({"type": "http.response.start", "status": document.status, "headers": sent})
        for start in range(0, len(body), _PIECE_BYTES):
            piece = body[start : start + _PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    async def _document(self, scope: Scope, receive: Receive, headers: Headers) -> _Document:
        address = (scope["path"], scope["scheme"], *(headers.get(name, "") for name in _ADDRESS))
        if document := self._kept.get(address):
            self._kept.move_to_end(address)
            return document
        self._callers.charge(client_in(scope), COST)
        sent: list[Message] = []

        async def take(message: Message) -> None:
            sent.append(message)

        await self.app({**scope, "query_string": b""}, receive, take)
        body = b"".join(message.get("body", b"") for message in sent)
        [start] = [message for message in sent if message["type"] == "http.response.start"]
        status, media_type = start["status"], Headers(raw=start["headers"]).get("content-type", "").encode()
        document = _Document(status, media_type, body, await run_in_threadpool(gzip.compress, body, 6))
        if document.status == 200:
            self._kept[address] = document
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return document
