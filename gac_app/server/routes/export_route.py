"""`/export`: everybody's votes, for the operator alone. Without a token in the environment, the route does not
exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, Response

from gac_app.errors import GacError, RequestError, without_folders

if TYPE_CHECKING:
    from gac_app.server.routes.operator import OperatorOnly
    from gac_app.services.mirror.exports import Exports


def export_route(exports: Exports, operator: OperatorOnly) -> APIRouter:
    """`GET /export?format=trl-preference` with the operator's bearer token: a file of votes."""
    router = APIRouter(dependencies=[Depends(operator)])

    @router.get("/export")
    async def export(wanted: Annotated[str, Query(alias="format")] = "jsonl") -> Response:
        try:
            name, content = await run_in_threadpool(exports.everything, wanted)
        except RequestError as error:
            return PlainTextResponse(str(error), 400)
        except GacError as error:
            return PlainTextResponse(without_folders(str(error)), 503)
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response(content, media_type="application/octet-stream", headers=headers)

    return router
