"""What requests cost: an address pays for each, and for its body as it arrives, before anything reads or parses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gac_app.server.limits.bodies import RefusedError
from gac_app.server.limits.callers import Callers, client_in

LATE_S = 0.5  # delay of a 429, so that retrying at once gains nothing
HEADERS_PER_REQUEST = 100  # reading so many takes as long as a request
FILES, FILE_COST = ("/assets/", "/static/", "/scripts/", "/theme.css"), 0.1  # a page loads about a hundred


class RequestLimit:
    """Middleware: answers requests that an address cannot pay for, and those refused further in by RefusedError.

    Args:
        callers: what each address has left.
        answer: to a refusal, by the request's path.
    """

    def __init__(self, app: ASGIApp, callers: Callers, answer: Callable[[RefusedError, str], Response]) -> None:
        self.app, self._callers, self._answer = app, callers, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        client = client_in(scope)

        async def paid() -> Message:
            message = await receive()
            self._callers.charge(client, num_bytes=len(message.get("body", b"")))
            return message

        try:
            cost = FILE_COST if scope["path"].startswith(FILES) else 1.0
            self._callers.charge(client, cost + len(scope["headers"]) / HEADERS_PER_REQUEST)
            await self.app(scope, paid, send)
        except RefusedError as refusal:
            if refusal.status == 429:
                await asyncio.sleep(LATE_S)
            await self._answer(refusal, scope["path"])(scope, receive, send)
