"""Refuses requests before any application code runs.

Plain ASGI middleware, because Starlette's `BaseHTTPMiddleware` would buffer and outlive the page's event streams.
Gradio opens far more routes than the page uses (uploads, file and URL proxies, monitoring); only the routes that the
page needs are allowed.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gac_app.errors import GacError
from gac_app.server.limits.bodies import RefusedError
from gac_app.server.limits.callers import Callers, client_in
from gac_app.server.limits.connections import COUNT, FULL_S

logger = logging.getLogger(__name__)

GRADIO_API = "/gradio_api/"
# Routes of Gradio's client: those that change something, and all.
POST_ROUTES = {"queue", "run", "component_server", "cancel", "reset"}
PAGE_ROUTES = {*POST_ROUTES, "heartbeat", "startup-events", "app_id", "info", "theme.css"}
# What a request costs its address, in ordinary ones, and the most bytes of its body, by how its path begins. A page
# loads about a hundred files. Prompts use only the queue; settings may hold some thousand words.
LIMITS = {
    **dict.fromkeys(("/assets/", "/static/", "/scripts/", "/theme.css"), (0.1, 0)),
    f"{GRADIO_API}run": (1.0, 300_000),
    f"{GRADIO_API}component_server": (1.0, 20_000),
    f"{GRADIO_API}cancel": (1.0, 2_000),
    f"{GRADIO_API}reset": (1.0, 2_000),
    "/operator": (1.0, 100_000),
    "": (1.0, 1_000_000),
}
HEADERS_PER_REQUEST = 100  # reading so many takes as long as a request
LATE_S = 0.5  # delay of a 429, so that retrying at once gains nothing
_PREFIX = re.compile(r"(/\w[\w.~-]*)+/?", re.ASCII)  # the path under which a proxy shows the page
# Headers in which proxies name the client and the requested address.
FORWARDED = frozenset(
    (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix")
)
# Gradio's routes outside its prefix that this page does not use.
SHUT_ROUTES = ("/openapi.json", "/monitoring", "/login", "/logout", "/svelte", "/file=", "/proxy=", "/upload")

# Gradio builds functions from strings and inlines scripts and styles. Everything else must come from this host, so that
# an image or a link in a model's answer cannot cause a request.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",  # last: sites that may show the page are added
    )
)
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def with_start(send: Send, note: Callable[[Message], None]) -> Send:
    """A `send` that gives `note` the start of the response, with its status and headers, before it is sent."""

    async def send_noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            note(message)
        await send(message)

    return send_noting


class SecurityHeaders:
    """Adds the headers above to every response.

    Args:
        framed_by: sites that may show the page in a frame.
    """

    def __init__(self, app: ASGIApp, framed_by: tuple[str, ...] = ()) -> None:
        self.app = app
        policy = " ".join((CONTENT_SECURITY_POLICY, *framed_by))
        self._headers = {**SECURITY_HEADERS, "Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(
            scope, receive, with_start(send, lambda start: MutableHeaders(scope=start).update(self._headers))
        )


class ProxyGuard:
    """Accepts a proxy's headers about the client and the page's address if the proxy is trusted.

    Anyone can send such headers, and Gradio would derive the page's address from them, so they are removed if they come
    from others. `X-Gradio-Server` is always removed.
    """

    def __init__(self, app: ASGIApp, trusted_proxies: tuple[str, ...] = ()) -> None:
        self.app = app
        self._believing = ProxyHeadersMiddleware(app, list(trusted_proxies))  # type: ignore[arg-type]
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        is_trusted = bool(scope.get("client")) and scope["client"][0] in self._believing.trusted_hosts
        headers = [(name, value) for name, value in scope["headers"] if is_trusted or name not in FORWARDED]
        if len(headers) < len(scope["headers"]) and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "Requests come through a proxy that is not trusted: all who come through it share one visitor's "
                "limits, unless server.trusted_proxies (GAC_TRUSTED_PROXIES) names its address."
            )
        headers = [(name, value) for name, value in headers if name != b"x-gradio-server"]
        root_path = _root_path(scope["path"], Headers(raw=headers).get("x-forwarded-prefix", ""))
        app = self._believing if is_trusted else self.app
        await app({**scope, "headers": headers, "root_path": root_path}, receive, send)  # type: ignore[arg-type]


def _root_path(path: str, prefix: str) -> str:
    """Where the page lies, by the proxy's `prefix`, which it has taken off `path`; "" = at the host's root.

    Routing would take it off once more, after the checks of the path. So a path that still begins with it counts as
    the whole path.
    """
    root_path = prefix.rstrip("/") if _PREFIX.fullmatch(prefix) else ""
    return "" if f"{path}/".startswith(f"{root_path}/") else root_path


class RequestLimit:
    """An address pays for each request, and for its body as it arrives, before anything reads or parses it. What it
    cannot pay for is answered here, as is every RefusedError or GacError from further in.

    Args:
        callers: what each address has left.
        answer: to an error, by the request's path.
    """

    def __init__(self, app: ASGIApp, callers: Callers, answer: Callable[[Exception, str], Response]) -> None:
        self.app, self._callers, self._answer = app, callers, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        client, started = client_in(scope), list[Message]()
        cost, max_bytes = next(limits for begin, limits in LIMITS.items() if scope["path"].startswith(begin))
        num_bytes = 0

        async def paid() -> Message:
            nonlocal num_bytes
            message = await receive()
            size = len(message.get("body", b""))
            self._callers.charge(client, num_bytes=size)
            if (num_bytes := num_bytes + size) > max_bytes:
                raise RefusedError(413, f"The request is too large; at most {max_bytes:,} bytes are taken.")
            return message

        try:
            self._callers.charge(client, cost + len(scope["headers"]) / HEADERS_PER_REQUEST)
            if (count := scope.get("state", {}).get(COUNT)) and not count(client):
                full = RefusedError(503, "Too many connections of this address are open.", FULL_S)
                full.headers["Connection"] = "close"  # it is not counted any more
                raise full
            await self.app(scope, paid, with_start(send, started.append))
        except ClientDisconnect:
            pass  # within its body: there is nobody to answer
        except (RefusedError, GacError) as error:
            if started:
                raise
            answer = self._answer(error, scope["path"])
            if answer.status_code == 429:
                await asyncio.sleep(LATE_S)
            await answer(scope, receive, send)


class HeadAsGet:
    """Answers HEAD as GET, of which the server sends no body. Not Gradio's streams, which would stay open."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and not scope["path"].startswith(GRADIO_API):
            scope = {**scope, "method": "GET"}
        await self.app(scope, receive, send)


class Guard:
    """Refuses foreign pages, paths that leave a folder, and Gradio's routes that the page does not use.

    A page is foreign if its Origin is neither this host nor allowed. Requests without one pass (navigation, curl):
    browsers send it with every request that changes state.

    Args:
        opened: routes of Gradio that are let through all the same.
    """

    def __init__(self, app: ASGIApp, allowed_origins: tuple[str, ...] = (), opened: tuple[str, ...] = ()) -> None:
        self.app, self._allowed_origins, self._opened = app, allowed_origins, opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            if not self._is_allowed(Headers(scope=scope)):
                raise RefusedError(403, "Requests from other sites are refused.")
            if scope["path"] not in self._opened:
                _check_path(scope["path"])
        await self.app(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        # Servers disagree on which of several Origin or Host lines counts, so all must be valid.
        hosts = {host.lower() for host in headers.getlist("host")}
        return all(
            origin in self._allowed_origins or {_host_of(origin)} == hosts for origin in headers.getlist("origin")
        )


def _host_of(origin: str) -> str:
    """`https://Name:7860` -> `name:7860`; empty for `null` and invalid origins."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in ("http", "https") else ""


def _check_path(path: str) -> None:
    is_shut = path.startswith(GRADIO_API) and path.removeprefix(GRADIO_API).split("/")[0] not in PAGE_ROUTES
    if is_shut or path.startswith(SHUT_ROUTES):
        raise RefusedError(403, "Refused.")
    if "\\" in path or "\0" in path or "//" in path or ".." in path.split("/"):
        raise RefusedError(400, "Refused.")
