"""`GET /scripts/VERSION/PATH`: the page's modules. Of another version there are none."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gac_app.ui.scripts import ADDRESS, scripts

_KEPT = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


async def _script(request: Request) -> Response:
    version, path = request.path_params["version"], request.path_params["path"]
    script = scripts().files.get(path) if version == scripts().version else None
    if script is None:
        return PlainTextResponse("There is no such script; reload the page.", 404, {"Cache-Control": "no-store"})
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(script.zipped, headers={**_KEPT, "Content-Encoding": "gzip"}, media_type="text/javascript")
    return Response(script.body, headers=_KEPT, media_type="text/javascript")


SCRIPT_ROUTE = Route(f"/{ADDRESS}/{{version}}/{{path:path}}", _script)
