"""`/export`: everybody's votes, for the operator alone. Without a token in the environment, the route does not
exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, Response

from gac_app.errors import GacError, NotFoundError, RequestError, without_folders

if TYPE_CHECKING:
    from gac_app.services.exports import Exports

_BEARER = "Bearer "


def export_route(exports: Exports) -> APIRouter:
    """`GET /export?format=trl-preference` with the operator's bearer token: a file of votes."""
    router = APIRouter()

    @router.get("/export")
    async def export(
        wanted: Annotated[str, Query(alias="format")] = "jsonl", authorization: Annotated[str, Header()] = ""
    ) -> Response:
        try:
            token = authorization.removeprefix(_BEARER)
            name, content = await run_in_threadpool(exports.everything, token, wanted)
        except NotFoundError:
            return PlainTextResponse("this needs the operator's token", 401, {"WWW-Authenticate": "Bearer"})
        except RequestError as error:
            return PlainTextResponse(str(error), 400)
        except GacError as error:
            return PlainTextResponse(without_folders(str(error)), 503)
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response(content, media_type="application/octet-stream", headers=headers)

    return router
