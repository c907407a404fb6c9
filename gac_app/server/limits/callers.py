"""Identifies clients by address and visitors by the host's cookie, and limits their requests."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.types import Scope

from gac_app.recent import Recent
from gac_app.server.limits.bodies import LARGE_BODY, RefusedError
from gac_app.services.queue.shares import MAX_NAMES, Allowance, client_of

T = TypeVar("T")

COOKIE = "gac_browser"
COOKIE_KEPT_S = 30 * 24 * 3600
_COOKIE_VALUE = re.compile(r"[0-9A-Za-z_-]{32}")
REQUESTS_PER_S, REQUESTS_BURST = 20.0, 120.0  # of a visitor; loading a page takes about ten requests
GUESSES_PER_S, GUESSES = 1 / 30, 5.0  # wrong tokens or keys of one address
BYTES_PER_REQUEST = 20_000  # a body counts as one request per so many bytes


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request.

    Attributes:
        client: from the address.
        visitor: from the browser's cookie or key, if known.
        holder: the owner of a session.
    """

    client: str
    visitor: str
    holder: str


@dataclass(frozen=True, slots=True)
class Quota:
    """The most of something that a visitor, a client, and all together may have."""

    of_visitor: int
    of_client: int
    of_all: int


def make_room(
    held: Sequence[tuple[T, Caller]],
    caller: Caller,
    quota: Quota,
    is_spare: Callable[[T], bool],
    refusals: tuple[RefusedError, RefusedError],
) -> list[T]:
    """What has to go so that a caller may have one more: of the visitor's own, then the client's, then anybody's.

    Args:
        held: all there is, and whose it is; of several that may go, the first one goes.
        is_spare: whether one may go.
        refusals: raised where none may go: of the visitor's own; of others.
    """
    gone: list[T] = []
    own, here, anywhere = (caller.client, caller.visitor), (caller.client,), ()
    for most, whose in ((quota.of_visitor, own), (quota.of_client, here), (quota.of_all, anywhere)):
        some = [one for one, by in held if (by.client, by.visitor)[: len(whose)] == whose and one not in gone]
        if len(some) >= most:
            spare = next(filter(is_spare, some), None)
            if spare is None:
                raise refusals[whose != own]
            gone.append(spare)
    return gone


class Callers:
    """Limits the requests of each visitor and each client, and the rate of new visitors of a client.

    Args:
        visitors_per_client: how many visitors one address may stand for.
    """

    def __init__(self, visitors_per_client: int) -> None:
        self._of_visitor = Allowance(REQUESTS_PER_S, REQUESTS_BURST)
        several = max(4, visitors_per_client // 4)  # visitors hardly ever ask all at once
        self._of_client = Allowance(REQUESTS_PER_S * several, REQUESTS_BURST * several)
        self._newcomers = Allowance(visitors_per_client / 60, visitors_per_client)
        self._known: Recent[tuple[str, str], None] = Recent(MAX_NAMES)
        self._working: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._heavy = asyncio.Lock()
        self._most_calls = 2 * several
        self._calling: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def caller(self, scope: Scope, visitor_key: str = "") -> Caller:
        """The sender of a request. `visitor_key` is from the body, for browsers without cookies."""
        client, cookie = client_in(scope), cookie_in(scope)
        return Caller(client, cookie or visitor_key, cookie or client)

    def charge(self, client: str, cost: float = 0.0, num_bytes: int = 0) -> None:
        """Raise RefusedError (429) if a client sends too many requests, or too long ones."""
        if wait_s := self._of_client.take(client, cost + num_bytes / BYTES_PER_REQUEST):
            raise RefusedError(429, "Too many requests come from this address.", wait_s)

    def calling(self, client: str) -> asyncio.Semaphore:
        """A place to hold while a function of the page answers a client: its further calls wait for one."""
        return self._calling.setdefault(client, asyncio.Semaphore(self._most_calls))

    async def work(self, client: str, work: Callable[[], T], *, is_heavy: bool = False) -> T:
        """What `work` gives, in a thread: one at a time for a client, however many requests it sends.

        Args:
            is_heavy: one at a time of all clients, so that a core is left.
        """
        async with self._working.setdefault(client, asyncio.Lock()), self._heavy if is_heavy else nullcontext():
            return await run_in_threadpool(work)

    async def parsed(self, client: str, body: bytes, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of a client's body: of a large one off the event loop."""
        return parse(body) if len(body) < LARGE_BODY else await self.work(client, partial(parse, body))

    def admit(self, caller: Caller, num_bytes: int = 0) -> None:
        """Raise RefusedError (429) if a visitor sends too many requests, or a client has too many new visitors."""
        cost = 1 + num_bytes / BYTES_PER_REQUEST
        name = (caller.client, caller.visitor)
        if name not in self._known and (wait_s := self._newcomers.take(caller.client)):
            raise RefusedError(429, "Too many new visitors come from this address.", wait_s)
        self._known[name] = None
        if wait_s := self._of_visitor.take(" ".join(name), cost):
            raise RefusedError(429, "Too many requests; please wait a moment.", wait_s)


class Secrets:
    """A dependency of routes: requests have to give one of some secrets. An address may guess a few times.

    Args:
        needed: what those without one are told.
        hashes: SHA-256 of each.
        is_needed: otherwise requests without one pass too.
    """

    def __init__(self, needed: str, hashes: Iterable[str], *, is_needed: bool = True) -> None:
        self._needed, self._hashes, self._is_needed = needed, frozenset(hashes), is_needed
        self._guesses = Allowance(GUESSES_PER_S, GUESSES)

    async def __call__(self, request: Request) -> str:
        """The hash of the secret that the one `Authorization` header has after `Bearer`; "" if none is needed.

        Raises:
            RefusedError: 401 without a secret that is known; 429 after too many wrong ones of the address.
        """
        headers = request.headers.getlist("authorization")
        scheme, _, given = headers[0].partition(" ") if len(headers) == 1 else ("", "", "")
        given = given.strip() if scheme.lower() == "bearer" else ""
        # Hashes are compared, so that the time that this takes tells nothing.
        if given and (found := hashlib.sha256(given.encode()).hexdigest()) in self._hashes:
            return found  # first, so that nobody locks the owner out with wrong ones
        if not self._is_needed:
            return ""
        if given and (wait_s := self._guesses.take(client_in(request.scope))):
            raise RefusedError(429, "Too many wrong keys came from this address.", wait_s)
        raise RefusedError(401, self._needed, code="invalid_api_key")


def client_in(scope: Scope) -> str:
    """The name of a request's client."""
    return client_of(scope["client"][0]) if scope.get("client") else ""


def cookie_in(scope: Scope) -> str:
    """The browser's cookie; empty if it sent none in the host's format."""
    value = HTTPConnection(scope).cookies.get(COOKIE, "")
    return value if _COOKIE_VALUE.fullmatch(value) else ""


def new_cookie(scope: Scope) -> str:
    """A `Set-Cookie` line. Over HTTPS, browsers also send the cookie from a frame, in which Hugging Face shows
    Spaces.
    """
    where = "SameSite=None; Secure; Partitioned" if scope["scheme"] == "https" else "SameSite=Lax"
    return f"{COOKIE}={secrets.token_urlsafe(24)}; Path=/; Max-Age={COOKIE_KEPT_S}; HttpOnly; {where}"
