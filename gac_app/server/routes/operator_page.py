"""The operator's page at `/operator`. The document itself tells nothing; all that it asks for needs the token."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse

from gac_app.folders import STATIC_DIR
from gac_app.server.limits.bodies import checked_body
from gac_app.server.routes.operator import OperatorOnly
from gac_app.services.battles.operator import Operator

_NOT_KEPT = {"Cache-Control": "no-store"}


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

    @inside.get("/overview")
    async def overview() -> JSONResponse:
        return await _answer(operator, lambda: None)

    @inside.post("/verdict")
    async def verdict(request: Request) -> JSONResponse:
        return await _changed(operator, request, operator.judge)

    @inside.post("/controls")
    async def controls(request: Request) -> JSONResponse:
        return await _changed(operator, request, operator.set)

    router.include_router(inside)
    return router


async def _changed(operator: Operator, request: Request, change: Callable[[dict[str, Any]], object]) -> JSONResponse:
    """The answer after a change by the fields of a request."""
    _, fields = await run_in_threadpool(checked_body, await request.body())
    return await _answer(operator, lambda: change(fields))


async def _answer(operator: Operator, act: Callable[[], object]) -> JSONResponse:
    def work() -> dict[str, Any]:
        act()
        return operator.overview()

    return JSONResponse(await run_in_threadpool(work), headers=_NOT_KEPT)


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
