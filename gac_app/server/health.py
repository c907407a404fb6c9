"""`/healthz` (the process answers) and `/readyz` (it can serve: every member ready, the database writable).

`/readyz` tells as well how much of ended runs each member keeps in its cache, and at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from gac_app.errors import StorageError

if TYPE_CHECKING:  # it imports torch, which would keep the page waiting
    from gac_app.services.runs import RunService


def health_routes(service: RunService) -> APIRouter:
    """The routes of both; neither needs an authority, and neither tells more than names and states."""
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    # Not async: the check writes to the database, which may take a while.
    @router.get("/readyz")
    def readyz() -> JSONResponse:
        reasons = not_ready_reasons(service)
        status = "ready" if not reasons else "not ready"
        content = {"status": status, "reasons": reasons, "kept_prefixes": service.kept()}
        return JSONResponse(content, status_code=503 if reasons else 200)

    return router


def not_ready_reasons(service: RunService) -> dict[str, str]:
    """What keeps the host from serving: a member's name, or "storage", -> why. Empty when ready."""
    reasons = {
        state.name: f"{state.phase}: {state.detail}" if state.detail else state.phase
        for state in service.member_states()
        if state.phase != "ready"
    }
    if not reasons and not service.is_ready:
        reasons["ensemble"] = "being built"
    try:
        service.check_storage()
    except StorageError as error:
        reasons["storage"] = str(error)
    return reasons
