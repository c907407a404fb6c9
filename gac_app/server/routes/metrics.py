"""`GET /metrics` for Prometheus: for anybody on a host of this machine alone, else for the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

if TYPE_CHECKING:
    from gac_app.server.routes.operator import OperatorOnly
    from gac_app.services.runs.runs import RunService


def metrics_route(service: RunService, operator: OperatorOnly | None) -> APIRouter:
    """The route.

    Args:
        operator: passes the operator's requests; None = everybody may ask.
    """
    router = APIRouter(dependencies=[Depends(operator)] if operator else [])

    @router.get("/metrics")
    def metrics() -> Response:  # in a thread of its own, since it is not quick
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router
