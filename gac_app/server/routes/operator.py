"""Routes for the operator alone, who has the token of `GAC_OPERATOR_TOKEN`; without it there are none.

The document of the page at `/operator` itself tells nothing; all that it asks for needs the token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST

from gac_app.folders import STATIC_DIR
from gac_app.server.limits.bodies import checked_body
from gac_app.server.limits.callers import Secrets
from gac_app.services.battles.operator import Operator
from gac_app.services.mirror.exports import Exports
from gac_app.services.runs.runs import RunService

_CHUNK_BYTES = 2**18
_NOT_KEPT = {"Cache-Control": "no-store"}


class OperatorOnly(Secrets):
    """A dependency of routes: passes requests whose one `Authorization` header is `Bearer TOKEN`. An empty token passes
    none.

    Raises:
        RefusedError: 401 for any other request; 429 after too many wrong tokens of its address.
    """

    def __init__(self, token: str) -> None:
        super().__init__("this needs the operator's token", [hashlib.sha256(token.encode()).hexdigest()])


def kept_route(service: RunService, operator: OperatorOnly) -> APIRouter:
    """`GET /operator/kept-prefixes` with the operator's token: what each member keeps of ended runs, and its limits."""
    router = APIRouter(dependencies=[Depends(operator)])

    @router.get("/operator/kept-prefixes")
    def kept() -> dict[str, Any]:
        return service.members.kept()  # another function once the members are loaded

    return router


def metrics_route(service: RunService, operator: OperatorOnly | None) -> APIRouter:
    """`GET /metrics` for Prometheus. `operator`: None = everybody may ask, on a host of this machine alone."""
    router = APIRouter(dependencies=[Depends(operator)] if operator else [])

    @router.get("/metrics")
    def metrics() -> Response:  # in a thread of its own, since it is not quick
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router


def export_route(exports: Exports, operator: OperatorOnly) -> APIRouter:
    """`GET /export?format=trl-preference` with the operator's bearer token: a file of votes."""
    router = APIRouter(dependencies=[Depends(operator)])

    @router.get("/export")
    async def export(wanted: Annotated[str, Query(alias="format")] = "jsonl") -> Response:
        name, parts = exports.everything(wanted)
        first = await run_in_threadpool(next, parts, b"")
        headers = {"Content-Disposition": f'attachment; filename="{name}"', **_NOT_KEPT}
        chunks = _chunks(chain([first], parts))  # read as they are sent, in threads
        return StreamingResponse(chunks, media_type="application/octet-stream", headers=headers)

    return router


def _chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join parts, each of which would take a turn of a thread."""
    chunk = bytearray()
    for part in parts:
        chunk += part
        if len(chunk) >= _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def operator_page(operator: Operator, only: OperatorOnly) -> APIRouter:
    """`GET /operator`, and behind the token `/operator/overview`, `/operator/verdict` and `/operator/controls`. Each of
    these answers with the overview, or with {"error": message}.
    """
    document = _document()
    router = APIRouter(prefix="/operator")
    inside = APIRouter(dependencies=[Depends(only)])

    @router.get("")
    async def page() -> HTMLResponse:
        return HTMLResponse(document, headers=_NOT_KEPT)

    # In threads: the database may take seconds.
    @inside.get("/overview")
    def overview() -> JSONResponse:
        return JSONResponse(operator.overview(), headers=_NOT_KEPT)

    @inside.post("/verdict")
    def verdict(fields: Annotated[dict[str, Any], Depends(_fields)]) -> JSONResponse:
        operator.judge(fields)
        return overview()

    @inside.post("/controls")
    def controls(fields: Annotated[dict[str, Any], Depends(_fields)]) -> JSONResponse:
        operator.set(fields)
        return overview()

    router.include_router(inside)
    return router


async def _fields(request: Request) -> dict[str, Any]:
    """Those of a request's body."""
    return (await run_in_threadpool(checked_body, await request.body()))[1]


def _document() -> str:
    """The page with its style and its words in every language; its modules are asked for."""
    from gac_app.ui.assets import markup_of  # with Gradio, so only where there is a page
    from gac_app.ui.scripts import ADDRESS, scripts
    from gac_app.ui.words import tables

    style = "".join((STATIC_DIR / "css" / f"{name}.css").read_text("utf-8") for name in ("palette", "operator"))
    words = json.dumps({"i18n_translations": tables()}).replace("<", "\\u003c")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>GaC</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<style>{style}</style></head><body>{markup_of('operator')}"
        f"<script>window.gradio_config = {words};</script>"
        f'<script type="module">import {{ start }} from "./{ADDRESS}/{scripts().version}/js/operator/operator.js"; '
        'start({ element: document.querySelector("main") });</script>'
        "</body></html>"
    )
