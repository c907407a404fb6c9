"""Who may ask: on a host of this machine everybody, else who has an API key."""

from __future__ import annotations

import hashlib

from fastapi import Request

from gac_app.config import Config
from gac_app.server.limits.bodies import RefusedError
from gac_app.server.limits.callers import Callers, Secrets, client_in
from gac_app.services.completions.completions import Asker
from gac_app.services.queue.shares import Allowance

BURST_S = 10.0  # a key that has rested may send the requests of so many seconds at once


class Access:
    """A dependency of routes: who asks, by the `Authorization` header `Bearer KEY` and the address.

    Raises:
        RefusedError: 401 without a key that is known, where one is needed; 429 over a limit.
    """

    def __init__(self, config: Config, callers: Callers) -> None:
        self.callers = callers
        self._keys = {
            key.sha256: (key, Allowance(key.requests_per_minute / 60, max(1.0, key.requests_per_minute / 60 * BURST_S)))
            for key in config.api.keys
        }
        needed = "this host needs an API key, as `Authorization: Bearer KEY`"
        self._secrets = Secrets(needed, self._keys, is_needed=config.is_public)

    async def __call__(self, request: Request) -> Asker:
        client = client_in(request.scope)
        if not (found := await self._secrets(request)):
            return Asker(visitor_key=_visitor_key(f"address {client}"), client=client, max_at_once=None)
        key, allowance = self._keys[found]
        if wait_s := allowance.take(""):
            message = f"this API key may send {key.requests_per_minute} requests a minute"
            raise RefusedError(429, message, wait_s, code="rate_limit_exceeded")
        return Asker(visitor_key=_visitor_key(f"key {found}"), client=client, max_at_once=key.max_at_once)


def _visitor_key(name: str) -> str:
    return hashlib.sha256(f"gac api {name}".encode()).hexdigest()
