"""`/healthz` (the process answers) and `/readyz` (it can serve: every member ready, the database writable); `/health`
and `/version` as inference servers have them.

`/readyz` also reports the state of the mirror, if there is one; the host is ready even if the mirror fails. It tells
nothing that depends on who answers, such as what members keep of ended runs: battles are blind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from gac_app import __version__
from gac_app.errors import StorageError, without_folders
from gac_app.services.runs.runs import RunService

CHECK_HOLDS_S = 1.0


def health_routes(service: RunService) -> APIRouter:
    """The routes. They need no authorisation and tell only names and states."""
    router = APIRouter()
    storage = SharedCheck(service.check_storage)

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/version")
    async def version() -> dict[str, str]:
        return {"version": __version__}

    @router.get("/health")
    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        reasons = member_reasons(service)
        if problem := await storage.problem():
            reasons["storage"] = problem
        status = "ready" if not reasons else "not ready"
        content: dict[str, Any] = {"status": status, "reasons": reasons}
        if service.mirror:
            names = ("is_restored", "is_failing", "num_waiting", "num_errors")
            content["mirror"] = {name: getattr(service.mirror, name) for name in names}
        return JSONResponse(content, status_code=503 if reasons else 200)

    return router


class SharedCheck:
    """A check of the database, which may take seconds. One check at a time answers all concurrent requests.

    Args:
        check: raises StorageError if the database cannot be written.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._task: asyncio.Task[str] | None = None
        self._done_at = 0.0

    async def problem(self) -> str:
        """The problem found by a check at most `CHECK_HOLDS_S` old; empty if there is none."""
        is_stale = time.monotonic() - self._done_at > CHECK_HOLDS_S
        if self._task is None or (self._task.done() and is_stale):
            self._task = asyncio.create_task(self._run())
        return await asyncio.shield(self._task)  # cancelling one caller must not cancel the check for others

    async def _run(self) -> str:
        try:
            await run_in_threadpool(self._check)
        except StorageError as error:
            return without_folders(str(error))
        else:
            return ""
        finally:
            self._done_at = time.monotonic()


def member_reasons(service: RunService) -> dict[str, str]:
    """Members that are not ready, and why; empty if all are ready."""
    reasons = {
        state.name: without_folders(f"{state.phase}: {state.detail}") if state.detail else state.phase
        for state in service.members.states()
        if state.phase != "ready"
    }
    if not reasons and not service.members.are_ready:
        reasons["ensemble"] = "being built"
    return reasons
