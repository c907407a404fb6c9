"""The API's application. The host gives it the requests to its paths; errors, request ids and schema are its own."""

from __future__ import annotations

import re
import time
import uuid
from functools import cache

import orjson
from fastapi import APIRouter, Depends, FastAPI, Request, responses
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gac_app import __version__
from gac_app.config import Config
from gac_app.errors import UNEXPECTED, GacError
from gac_app.server.api.access import Access
from gac_app.server.api.answers import ChatChunk, ModelCard, ModelList
from gac_app.server.api.bodies import ERRORS, document_of
from gac_app.server.api.chat import Chat
from gac_app.server.api.errors import answer_to, refusal_of
from gac_app.server.api.forms import answering_route
from gac_app.server.api.requests import ChatRequest, CompletionRequest, DetokenizeRequest, TokenizeRequest
from gac_app.server.api.response_models import ResponseEvent, ResponseRequest
from gac_app.server.api.responses import Response
from gac_app.server.api.texts import Text
from gac_app.server.api.tokens import MODEL, token_routes
from gac_app.server.limits.bodies import RefusedError
from gac_app.server.limits.callers import Callers
from gac_app.server.middleware import with_start
from gac_app.services.completions.completions import Completions
from gac_app.services.completions.systems import System
from gac_app.services.origin import originating

PREFIX, OTHERS = "/v1/", ("/tokenize", "/detokenize", "/tokenizer_info")  # the API's paths
_NAMED = re.compile(r"/models/(.+?)(/v1/completions|/tokenize|/detokenize|/tokenizer_info)")
REQUEST_ID = "X-Request-Id"
_BODIES = (ChatRequest, CompletionRequest, ResponseRequest, TokenizeRequest, DetokenizeRequest)
_MODELS: list[tuple[type[BaseModel], JsonSchemaMode]] = [
    *((body, "validation") for body in _BODIES),
    *((told, "serialization") for told in (ChatChunk, ResponseEvent)),
]
# The names that settings have in requests, by path.
_PARAMS = {"max_new_tokens": "max_tokens", "json_schema": "response_format", "settings": "gac.settings"}
_PARAMS_OF = {
    "/v1/chat/completions": _PARAMS | {"prompt": "messages"},
    "/v1/responses": _PARAMS | {"max_new_tokens": "max_output_tokens", "json_schema": "text.format", "prompt": "input"},
    "/detokenize": {"prompt": "tokens"},
}


def api_app(completions: Completions, config: Config, callers: Callers) -> ASGIApp:
    """The application.

    Args:
        callers: limits the requests of each address, those to the page included.
    """
    access = Access(config, callers)
    app = FastAPI(
        title="GaC side by side",
        version=__version__,
        description="Language models, and ensembles of them, in OpenAI's form.",
        middleware=[Middleware(RequestIds)],
        responses=ERRORS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    for form in (Chat, Text, Response):
        app.include_router(answering_route(form, completions, access))
    for routes in (_models_routes, token_routes):
        app.include_router(routes(completions, access))
    for kind in (GacError, RefusedError, HTTPException):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(Exception, _broken)

    @cache
    def document() -> bytes:
        return orjson.dumps(document_of(app, _MODELS, completions.systems.names))

    @app.get("/v1/openapi.json", include_in_schema=False)
    def openapi() -> responses.Response:  # in a thread: the first one takes long
        return responses.Response(document(), media_type="application/json")

    return app


class ApiPaths:
    """Middleware: passes requests to the API's paths to its application. `/models/NAME` before some of them names the
    model of requests that name none, as those of lm-eval to a tokeniser.
    """

    def __init__(self, app: ASGIApp, api: ASGIApp) -> None:
        self.app, self._api = app, api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (named := _NAMED.fullmatch(scope["path"])):
            scope = {**scope, "path": named[2], "state": {**scope.get("state", {}), MODEL: named[1]}}
        is_api = scope["type"] == "http" and is_of_api(scope["path"])
        await (self._api if is_api else self.app)(scope, receive, send)


def is_of_api(path: str) -> bool:
    return path.startswith(PREFIX) or path in OTHERS or _NAMED.fullmatch(path) is not None


class RequestIds:
    """Middleware: every answer tells its request's id: the caller's, if that is plain, or a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        is_plain = 0 < len(given) <= 128 and given.isascii() and given.isprintable()
        request_id = given if is_plain else f"req_{uuid.uuid4().hex}"

        def name(start: Message) -> None:
            MutableHeaders(scope=start)[REQUEST_ID] = request_id

        with originating(request_id=request_id):
            await self.app(scope, receive, with_start(send, name))


def _models_routes(completions: Completions, access: Access) -> APIRouter:
    """`GET /v1/models` and `GET /v1/models/NAME`."""
    router, created, systems = APIRouter(dependencies=[Depends(access)]), int(time.time()), completions.systems

    def card(system: System) -> ModelCard:
        return ModelCard(id=system.name, created=created, max_model_len=completions.context_length(system))

    @router.get("/v1/models")
    async def models() -> ModelList:
        return ModelList(data=[card(systems.find(name)) for name in systems.names])

    @router.get("/v1/models/{name:path}")
    async def model(name: str) -> ModelCard:
        return card(systems.find(name))

    return router


async def _refused(request: Request, error: Exception) -> JSONResponse:
    return answer_to(refusal_of(error, _PARAMS_OF.get(request.url.path, _PARAMS)))


async def _broken(_: Request, error: Exception) -> JSONResponse:
    return answer_to(RefusedError(500, UNEXPECTED))
