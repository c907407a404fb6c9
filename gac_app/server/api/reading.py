"""Bodies of requests, checked off the event loop where that takes long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from gac_app.server.api.errors import invalid
from gac_app.server.api.requests import UNSUPPORTED
from gac_app.server.limits.bodies import RefusedError, checked_body
from gac_app.server.limits.callers import Callers, client_in

ModelT = TypeVar("ModelT", bound=BaseModel)


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
