"""Refuses requests before any application code runs.

Plain ASGI middleware, because Starlette's `BaseHTTPMiddleware` would buffer and outlive the page's event streams.
Gradio opens far more routes than the page uses (uploads, file and URL proxies, monitoring); only the routes that the
page needs are allowed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

logger = logging.getLogger(__name__)

GRADIO_API = "/gradio_api/"
# Bytes of a body by route of Gradio's client. Prompts use only the queue; settings may hold some thousand words.
MAX_BODY_BYTES = {"queue": 1_000_000, "run": 300_000, "component_server": 20_000, "cancel": 2_000, "reset": 2_000}
# Its routes: those, events' streams, and details on demand.
PAGE_ROUTES = {*MAX_BODY_BYTES, "heartbeat", "startup-events", "app_id", "info", "theme.css"}
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


class HeadAsGet:
    """Answers HEAD as GET, of which the server sends no body. Not Gradio's streams, which would stay open."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD" and not scope["path"].startswith(GRADIO_API):
            scope = {**scope, "method": "GET"}
        await self.app(scope, receive, send)


class OriginGuard:
    """Refuses requests from foreign pages: an Origin that is neither this host nor allowed (403).

    Requests without an Origin (navigation, curl) pass, since browsers send one with every request that changes state.
    """

    def __init__(self, app: ASGIApp, allowed_origins: tuple[str, ...] = ()) -> None:
        self.app = app
        self.allowed_origins = frozenset(origin.rstrip("/").lower() for origin in allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._is_allowed(Headers(scope=scope)):
            await PlainTextResponse("Requests from other sites are refused.", status_code=403)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_allowed(self, headers: Headers) -> bool:
        # Servers disagree on which of several Origin or Host lines counts, so all must be valid.
        hosts = {host.lower() for host in headers.getlist("host")}
        return all(
            origin.lower() in self.allowed_origins or {_host_of(origin)} == hosts
            for origin in headers.getlist("origin")
        )


def _host_of(origin: str) -> str:
    """`https://Name:7860` -> `name:7860`; empty for `null` and invalid origins."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in ("http", "https") else ""


class ShutRoutes:
    """Refuses paths that leave a folder (400), and Gradio's routes that the page does not use (403).

    Args:
        opened: paths that are let through all the same.
    """

    def __init__(self, app: ASGIApp, opened: tuple[str, ...] = ()) -> None:
        self.app, self._opened = app, opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_checked = scope["type"] in ("http", "websocket") and scope["path"] not in self._opened
        status = _refusal(scope["path"]) if is_checked else None
        if status is not None:
            await PlainTextResponse("Refused.", status_code=status)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _refusal(path: str) -> int | None:
    """The status for refusing a path, or None."""
    if path.startswith(GRADIO_API) and path.removeprefix(GRADIO_API).split("/")[0] not in PAGE_ROUTES:
        return 403
    if path.startswith(SHUT_ROUTES):
        return 403
    return 400 if "\\" in path or "\0" in path or "//" in path or ".." in path.split("/") else None
