"""Routes for the operator alone, who has the token of `GAC_OPERATOR_TOKEN`; without it there are none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST

from gac_app.server.limits.callers import Secrets
from gac_app.services.mirror.exports import Exports
from gac_app.services.runs.runs import RunService

_CHUNK_BYTES = 2**18


class OperatorOnly:
    """A dependency of routes: passes requests whose one `Authorization` header is `Bearer TOKEN`.

    Args:
        token: the operator's, not empty.

    Raises:
        RefusedError: 401 for any other request; 429 after too many wrong tokens of its address.
    """

    def __init__(self, token: str) -> None:
        if not token:
            raise ValueError("without a token nobody is the operator")
        self._secrets = Secrets(
            "token", "this needs the operator's token", [hashlib.sha256(token.encode()).hexdigest()]
        )

    async def __call__(self, request: Request) -> None:
        self._secrets.hash_in(request)


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
        name, parts = exports.everything(wanted)
        first = await run_in_threadpool(next, parts, b"")
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
