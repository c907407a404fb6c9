"""The host: one FastAPI application with the page mounted at `/`."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio
from fastapi import APIRouter, FastAPI
from fastapi.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from gac_app.config import Config, ServerConfig
from gac_app.server.api.app import ApiPaths, api_app, is_of_api
from gac_app.server.api.errors import answer_to, refusal_of
from gac_app.server.limits.callers import Callers
from gac_app.server.middleware import Guard, HeadAsGet, ProxyGuard, RequestLimit, SecurityHeaders
from gac_app.server.page.events import Admission, EventMiddleware
from gac_app.server.page.gradio_page import GradioPage
from gac_app.server.page.page_document import PageDocument
from gac_app.server.routes.health import health_routes
from gac_app.server.routes.operator import OperatorOnly, export_route, kept_route, metrics_route, operator_page
from gac_app.server.routes.script_route import SCRIPT_ROUTE
from gac_app.server.routes.sign_in import SIGN_IN_ROUTES, sign_in_parts
from gac_app.services.battles.arena import ArenaService
from gac_app.services.completions.completions import Completions
from gac_app.services.lab.lab import Lab
from gac_app.services.mirror.exports import Exports
from gac_app.services.runs.runs import RunService
from gac_app.ui.assets import first_markup
from gac_app.ui.page import build_page, page_assets

# Features of Gradio that would otherwise be open: run recorder, monitor, error texts for everybody.
_CLOSED: dict[str, Any] = {"run_history": False, "enable_monitoring": False, "show_error": False}
# For sites that the operator names. The API's clients send their key, and facts of themselves.
_CORS: dict[str, Any] = {"allow_methods": ["GET", "POST"], "allow_headers": ["*"], "expose_headers": ["*"]}


@dataclass(frozen=True, slots=True)
class HostSecrets:
    """What the environment entrusts to the host.

    Attributes:
        operator: the token for the operator's routes and page; "" = there are none.
        sign_in: of the Space, where visitors may sign in; "" = they may not.
    """

    operator: str = ""
    sign_in: str = ""


_NO_SECRETS = HostSecrets()


def create_host(
    service: RunService,
    config: Config,
    lab: Lab | None = None,
    arena: ArenaService | None = None,
    exports: Exports | None = None,
    secrets: HostSecrets = _NO_SECRETS,
) -> FastAPI:
    """The application. Its page works at once; the members may still be loading.

    Args:
        service: answers the page's calls and the health routes; closed when the host shuts down.
        config: its `server` part has the allowed hosts and origins.
        lab, arena: None = the page has none.
        exports: of all votes, for the operator.
    """
    api = partial(api_app, Completions(service), config) if config.api.is_open else None
    host = bare_host(service, config.server, secrets, api, _other_routes(service, config, arena, exports, secrets))
    mount_page(host, build_page(service, lab, arena, has_sign_in=bool(secrets.sign_in)), page_assets())
    return host


def launch_page(
    service: RunService,
    config: Config,
    arena: ArenaService | None = None,
    exports: Exports | None = None,
    secrets: HostSecrets = _NO_SECRETS,
) -> None:
    """Serve the same by Gradio's own `launch`, as ZeroGPU Spaces need it, until SIGINT or SIGTERM. Without a lab."""
    # Gradio calls its own address when it starts.
    names = (*config.server.trusted_hosts, "localhost", config.server.host)
    trusted = config.server.model_copy(update={"trusted_hosts": names})
    blocks = build_page(service, None, arena, has_sign_in=bool(secrets.sign_in))
    routers = _other_routes(service, config, arena, exports, secrets)
    blocks.launch(
        server_name=config.server.host,
        server_port=config.server.port,
        app_kwargs=_options(service, trusted, Admission(trusted.visitors_per_client), secrets, routers, page=blocks),
        prevent_thread_lock=True,
        ssr_mode=False,
        quiet=True,
        **_CLOSED,
        **page_assets(),
    )
    _wait_for_signal()
    blocks.close(verbose=False)


def _other_routes(
    service: RunService, config: Config, arena: ArenaService | None, exports: Exports | None, secrets: HostSecrets
) -> list[APIRouter]:
    """The routes for the operator, of whom there is none without a token, and the metrics."""
    if not secrets.operator:
        return [] if config.is_public else [metrics_route(service, None)]
    only = OperatorOnly(secrets.operator)  # one, so that guesses are counted together
    export = [export_route(exports, only)] if exports else []
    page = [operator_page(arena.operator, only)] if arena else []
    return [kept_route(service, only), metrics_route(service, only), *export, *page]


def _wait_for_signal() -> None:
    is_over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: is_over.set())
    is_over.wait()


def bare_host(
    service: RunService,
    config: ServerConfig,
    secrets: HostSecrets = _NO_SECRETS,
    api: Callable[[Callers], ASGIApp] | None = None,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """The host without a page: its middleware, its health routes, and others.

    Args:
        api: makes the API for programs, which counts requests with the page; None = there is none.
    """
    admission = Admission(config.visitors_per_client)
    api_paths = [Middleware(ApiPaths, api=api(admission.callers))] if api else []
    options = _options(service, config, admission, secrets, routers, api_paths)
    host = FastAPI(**options, docs_url=None, redoc_url=None, openapi_url=None)
    host.state.admission = admission
    return host


def mount_page(host: FastAPI, page: gradio.Blocks, options: Mapping[str, Any]) -> None:
    """Mount a page at `/`; `options` are those of Gradio's `mount_gradio_app`."""
    gradio.mount_gradio_app(host, page, path="/", **{**_CLOSED, **options})
    app: FastAPI = host.routes[-1].app  # type: ignore[attr-defined]
    host.state.admission.page = GradioPage(page, app)
    for route in app.routes:  # FastAPI would prepare them in the first request, which held the event loop for 40 ms
        route.matches({"type": "http", "method": "GET", "path": ""})


def _options(
    service: RunService,
    config: ServerConfig,
    admission: Admission,
    secrets: HostSecrets,
    routers: Sequence[APIRouter],
    api_paths: Sequence[Middleware] = (),
    page: gradio.Blocks | None = None,
) -> dict[str, Any]:
    """Of the application. `page`: None = it is mounted later."""
    sign_in_routes, sign_in = sign_in_parts(secrets.sign_in)
    routes = [route for router in (health_routes(service), *routers) for route in router.routes]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if page:
            admission.page = GradioPage(page, app)  # before the first request
        service.start_mirror()
        async with admission.sweeping():
            yield
        await run_in_threadpool(service.close)

    middleware = [  # outermost first
        Middleware(SecurityHeaders, framed_by=config.framed_by),
        Middleware(ProxyGuard, trusted_proxies=config.trusted_proxies),
        # Even when closed: otherwise Gradio would add its own, which reflects origins. Refusals can be read, too.
        Middleware(CORSMiddleware, allow_origins=list(config.allowed_origins), **_CORS),
        Middleware(RequestLimit, callers=admission.callers, answer=_refused),
        Middleware(HeadAsGet),
        Middleware(TrustedHostMiddleware, allowed_hosts=list(config.trusted_hosts), www_redirect=False),
        Middleware(Guard, allowed_origins=config.allowed_origins, opened=SIGN_IN_ROUTES if sign_in else ()),
        *api_paths,
        *sign_in,
        Middleware(EventMiddleware, admission=admission),
        Middleware(PageDocument, callers=admission.callers, first=first_markup()),
    ]
    return {"lifespan": lifespan, "middleware": middleware, "routes": [*sign_in_routes, SCRIPT_ROUTE, *routes]}


def _refused(error: Exception, path: str) -> Response:
    """In the form of the API, or of the page."""
    refusal = refusal_of(error)
    if is_of_api(path):
        return answer_to(refusal)
    return JSONResponse({"error": refusal.message, "detail": refusal.message}, refusal.status, refusal.headers)
