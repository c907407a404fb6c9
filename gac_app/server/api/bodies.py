"""Bodies of requests, checked off the event loop where that takes long, and what FastAPI is told of them.

Because bodies are read by hand and streams are sent by hand, FastAPI is told of both for the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gac_app.server.api.errors import ErrorBody, invalid
from gac_app.server.api.requests import UNSUPPORTED
from gac_app.server.limits.bodies import RefusedError, checked_body
from gac_app.server.limits.callers import Callers, client_in

ModelT = TypeVar("ModelT", bound=BaseModel)

ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorBody}, "5XX": {"model": ErrorBody}}
_PLACE = "#/components/schemas/"


def described(body: type[BaseModel], chunk: type[BaseModel] | None = None, ends_with: str = "") -> dict[str, Any]:
    """Options of a route that takes `body`.

    Args:
        chunk: the data of each event where the answer is streamed.
        ends_with: that of the last one, if it is always the same. Then an error is an event of its own.
    """
    content = {"application/json": {"schema": {"$ref": f"{_PLACE}{body.__name__}"}}}
    options: dict[str, Any] = {"openapi_extra": {"requestBody": {"required": True, "content": content}}}
    if chunk:
        told = f"Server-sent events. The data of each is a {chunk.__name__}"
        told += f" or an ErrorBody; `{ends_with}` is the last." if ends_with else "."
        stream = {"schema": {"description": told}}
        options["responses"] = {200: {"content": {"text/event-stream": stream}}}
    return options


def document_of(
    app: FastAPI, models: Sequence[tuple[type[BaseModel], JsonSchemaMode]], names: Sequence[str]
) -> dict[str, Any]:
    """The document.

    Args:
        models: bodies ("validation") and chunks ("serialization").
        names: the values of a body's field `model`.
    """
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    _, found = models_json_schema(models, ref_template=f"{_PLACE}{{model}}")
    for body in (kind.__name__ for kind, mode in models if mode == "validation"):
        found["$defs"][body]["properties"].get("model", {})["enum"] = list(names)
    document["components"]["schemas"] |= found["$defs"]
    return document


def body_of(kind: type[ModelT], callers: Callers) -> Callable[[Request], Awaitable[ModelT]]:
    """A dependency that gives a request's body as a model.

    Raises:
        RefusedError: it is no JSON object, or not as the model wants it.
    """

    def parsed(sent: bytes) -> ModelT:
        try:
            return kind.model_validate(checked_body(sent)[1])
        except ValidationError as error:
            raise invalid(error, UNSUPPORTED) from None

    async def body(request: Request) -> ModelT:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in ("application/json", ""):
            raise RefusedError(415, "the body has to be JSON, with Content-Type: application/json")
        return await callers.parsed(client_in(request.scope), await request.body(), parsed)

    return body
