"""Keeps the page's documents: Gradio takes some hundredths of a second to write them, and does not compress them."""

from __future__ import annotations

import gzip

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gac_app.recent import Recent
from gac_app.server.limits.callers import Callers, client_in
from gac_app.ui.requests import ACCOUNT

PATHS = ("/", "/config")
MAX_KEPT = 32  # of all addresses under which the page is reached, compressed and not
COST = 40  # requests that count for one that has to be written: a client may invent addresses
_PIECE_BYTES = 16_384  # the server waits for the reader between two of them
# The document names the page's address, which Gradio takes from these.
_ADDRESS = ("host", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix")


class PageDocument:
    """Middleware: answers `PATHS` from memory; who is signed in has a document of their own, which names them.

    Args:
        first: markup for the beginning of the page's head.

    Raises:
        RefusedError: (429) where a client asks for too many that are not kept.
    """

    def __init__(self, app: ASGIApp, callers: Callers, first: str) -> None:
        self.app, self._callers, self._first = app, callers, first.encode()
        self._kept: Recent[tuple[object, ...], list[Message]] = Recent(MAX_KEPT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or (scope["path"].rstrip("/") or "/") not in PATHS:
            await self.app(scope, receive, send)
            return
        headers, account = Headers(scope=scope), scope.get("state", {}).get(ACCOUNT)
        is_zipped = "gzip" in headers.get("accept-encoding", "")
        address = (scope["path"], scope["scheme"], is_zipped, *(headers.get(name, "") for name in _ADDRESS))
        answer = None if account else self._kept.get(address)
        if answer is None:
            self._callers.charge(client_in(scope), COST)
            answer = await self._written(scope, receive, is_zipped)
        if answer[0]["status"] == 200 and not account:
            self._kept[address] = answer
        for message in answer:
            await send({**message})  # further out, headers are added

    async def _written(self, scope: Scope, receive: Receive, is_zipped: bool) -> list[Message]:
        """Gradio's answer, with what comes first in the page."""
        sent: list[Message] = []

        async def take(message: Message) -> None:
            sent.append(message)

        await self.app({**scope, "query_string": b""}, receive, take)
        [start] = [message for message in sent if message["type"] == "http.response.start"]
        media_type = Headers(raw=start["headers"]).get("content-type", "").encode()
        body = b"".join(message.get("body", b"") for message in sent)
        if media_type.startswith(b"text/html"):
            body = body.replace(b"<head>", b"<head>" + self._first, 1)
        if is_zipped:
            body = await run_in_threadpool(gzip.compress, body, 6)
        headers = [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]
        headers += [(b"vary", b"Accept-Encoding"), *([(b"content-encoding", b"gzip")] if is_zipped else [])]
        pieces = [body[at : at + _PIECE_BYTES] for at in range(0, len(body), _PIECE_BYTES)]
        return [
            {"type": start["type"], "status": start["status"], "headers": headers},
            *({"type": "http.response.body", "body": piece, "more_body": True} for piece in pieces),
            {"type": "http.response.body"},
        ]
