"""Bodies of requests: read within a limit, and checked off the event loop where that takes long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from gac_app.server.api.errors import ApiError, invalid
from gac_app.server.api.requests import UNSUPPORTED
from gac_app.server.limits.bodies import checked_body, read_body
from gac_app.server.limits.callers import Callers, client_in

MAX_BODY_BYTES = 1_000_000

ModelT = TypeVar("ModelT", bound=BaseModel)


def body_of(kind: type[ModelT], callers: Callers) -> Callable[[Request], Awaitable[ModelT]]:
    """A dependency that gives a request's body as a model.

    Raises:
        RefusedError, ApiError: it is too large, no JSON object, or not as the model wants it.
    """

    def parsed(sent: bytes) -> ModelT:
        try:
            return kind.model_validate(checked_body(sent)[1])
        except ValidationError as error:
            raise invalid(error, UNSUPPORTED) from None

    async def body(request: Request) -> ModelT:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in ("application/json", ""):
            raise ApiError(415, "the body has to be JSON, with Content-Type: application/json")
        sent = await read_body(request.receive, MAX_BODY_BYTES)
        return await callers.parsed(client_in(request.scope), sent, parsed)

    return body
