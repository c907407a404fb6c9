"""Who may ask: on a host of this machine everybody, else who has an API key."""

from __future__ import annotations

import hashlib

from fastapi import Request

from gac_app.config import ApiKeyConfig, Config
from gac_app.server.api.errors import ApiError
from gac_app.server.limits.callers import GUESSES, GUESSES_PER_S, Callers, bearer_in, client_in
from gac_app.services.completions.completions import Asker
from gac_app.services.queue.shares import Allowance

BURST_S = 10.0  # a key that has rested may send the requests of so many seconds at once


class Access:
    """A dependency of routes: who asks, by the `Authorization` header `Bearer KEY` and the address.

    Raises:
        ApiError: 401 without a key that is known, where one is needed; 429 over a limit.
    """

    def __init__(self, config: Config, callers: Callers) -> None:
        self._is_free = not config.is_public
        self._keys = {key.sha256: key for key in config.api.keys}
        self.callers = callers
        self._of_key = {
            key.sha256: Allowance(key.requests_per_minute / 60, max(1.0, key.requests_per_minute / 60 * BURST_S))
            for key in config.api.keys
        }
        self._guesses = Allowance(GUESSES_PER_S, GUESSES)

    async def __call__(self, request: Request) -> Asker:
        client = client_in(request.scope)
        given = bearer_in(request)
        # Hashes, so that the time that this takes tells nothing.
        key = self._keys.get(hashlib.sha256(given.encode()).hexdigest()) if given else None
        if key is not None:
            return self._with_key(key, client)
        if self._is_free:
            return Asker(visitor_key=_visitor_key(f"address {client}"), client=client, max_at_once=None)
        if given and (wait_s := self._guesses.take(client)):
            raise ApiError(429, "too many wrong API keys came from this address", retry_s=wait_s)
        raise ApiError(401, "this host needs an API key, as `Authorization: Bearer KEY`", code="invalid_api_key")

    def _with_key(self, key: ApiKeyConfig, client: str) -> Asker:
        if wait_s := self._of_key[key.sha256].take(""):
            message = f"this API key may send {key.requests_per_minute} requests a minute"
            raise ApiError(429, message, code="rate_limit_exceeded", retry_s=wait_s)
        visitor_key = _visitor_key(f"key {key.sha256}")
        return Asker(visitor_key=visitor_key, client=client, max_at_once=key.max_at_once)


def _visitor_key(name: str) -> str:
    return hashlib.sha256(f"gac api {name}".encode()).hexdigest()
