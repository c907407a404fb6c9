"""Routes for the operator alone, who has the token of `GAC_OPERATOR_TOKEN`; without it there are none."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST

from gac_app.errors import GacError, RequestError, without_folders
from gac_app.server.limits.callers import GUESSES, GUESSES_PER_S, bearer_in, client_in
from gac_app.services.mirror.exports import Exports
from gac_app.services.queue.shares import Allowance
from gac_app.services.runs.runs import RunService

_CHUNK_BYTES = 2**18


class OperatorOnly:
    """A dependency of routes: passes requests whose one `Authorization` header is `Bearer TOKEN`.

    Args:
        token: the operator's, not empty.

    Raises:
        HTTPException: 401 for any other request; 429 after too many of its address.
    """

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("without a token nobody is the operator")
        self._token = token.encode()
        self._guesses = Allowance(GUESSES_PER_S, GUESSES)

    async def __call__(self, request: Request) -> None:
        if hmac.compare_digest(self._token, bearer_in(request).encode("utf-8", "replace")):
            return  # first, so that nobody locks the operator out with wrong tokens
        if wait_s := self._guesses.take(client_in(request.scope)):
            headers = {"Retry-After": str(int(wait_s) + 1)}
            raise HTTPException(429, "too many wrong tokens came from this address", headers)
        raise HTTPException(401, "this needs the operator's token", {"WWW-Authenticate": "Bearer"})


def kept_route(service: RunService, operator: OperatorOnly) -> APIRouter:
    """`GET /operator/kept-prefixes` with the operator's token: what each member keeps of ended runs, and its limits."""
    router = APIRouter(dependencies=[Depends(operator)])

    @router.get("/operator/kept-prefixes")
    async def kept_prefixes() -> dict[str, Any]:
        return service.members.kept()

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
        try:
            name, parts = exports.everything(wanted)
            first = await run_in_threadpool(next, parts, b"")
        except RequestError as error:
            return PlainTextResponse(str(error), 400)
        except GacError as error:
            return PlainTextResponse(without_folders(str(error)), 503)
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
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
