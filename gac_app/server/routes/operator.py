"""Lets the operator alone through: routes that need the token of `GAC_OPERATOR_TOKEN`."""

from __future__ import annotations

import hmac

from fastapi import HTTPException, Request

from gac_app.server.limits.callers import GUESSES, GUESSES_PER_S, bearer_in, client_in
from gac_app.services.queue.shares import Allowance


class OperatorOnly:
    """A dependency of routes: passes requests whose one `Authorization` header is `Bearer TOKEN`.

    Args:
        token: the operator's, not empty.

    Raises:
        HTTPException: 401 for any other request; 429, whatever its token, after too many wrong ones of its address.
    """

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("without a token nobody is the operator")
        self._token = token.encode()
        self._guesses = Allowance(GUESSES_PER_S, GUESSES)

    async def __call__(self, request: Request) -> None:
        client = client_in(request.scope)
        if wait_s := self._guesses.take(client):
            headers = {"Retry-After": str(int(wait_s) + 1)}
            raise HTTPException(429, "too many wrong tokens came from this address", headers)
        if not hmac.compare_digest(self._token, bearer_in(request).encode("utf-8", "replace")):
            raise HTTPException(401, "this needs the operator's token", {"WWW-Authenticate": "Bearer"})
        self._guesses.forget(client)
