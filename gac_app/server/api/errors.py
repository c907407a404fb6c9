"""Errors of the API, in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from gac_app.errors import BusyError, LimitError, NotFoundError, RequestError, TooLongError, without_folders
from gac_app.server.limits.bodies import RefusedError
from gac_app.validation import message_of, path_of

RETRY_S = 5
_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class ErrorFacts(BaseModel):
    """What is wrong, and with which field."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorFacts


def error_body(refusal: RefusedError) -> ErrorBody:
    kind = _TYPES.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
    return ErrorBody(error=ErrorFacts(message=refusal.message, type=kind, param=refusal.param, code=refusal.code))


def answer_to(refusal: RefusedError) -> JSONResponse:
    return JSONResponse(error_body(refusal).model_dump(), refusal.status, refusal.headers)


def refusal_of(error: Exception, params: Mapping[str, str] = MappingProxyType({})) -> RefusedError:
    """The answer to an error raised on purpose.

    Args:
        params: the request's name of a setting, where it has another one.
    """
    message = without_folders(str(error))
    match error:
        case RefusedError():
            return error
        case HTTPException():
            refusal = RefusedError(error.status_code, "No such endpoint" if error.status_code == 404 else error.detail)
            refusal.headers |= error.headers or {}
            return refusal
        case RequestError():
            param = params.get(error.field, error.field)
            code = "context_length_exceeded" if isinstance(error, TooLongError) else "invalid_value"
            return RefusedError(400, f"{param}: {without_folders(error.message)}", code=code, param=param)
        case NotFoundError():
            return RefusedError(404, message, code="model_not_found", param="model")
        case LimitError():
            return RefusedError(429, message, RETRY_S, code="rate_limit_exceeded")
        case BusyError():
            return RefusedError(503, message, RETRY_S, code="queue_full")
    return RefusedError(503, message, RETRY_S, code="unavailable")


def invalid(error: ValidationError, unsupported: frozenset[str]) -> RefusedError:
    """The answer to an invalid body, for its first fault.

    Args:
        unsupported: fields that OpenAI has and this API does not.
    """
    errors: list[Any] = error.errors(include_url=False)
    # Of a field with several kinds, the kind that fits furthest: an empty list is a wrong list, not a wrong text.
    kinds = [one for one in errors if one["loc"][:1] == errors[0]["loc"][:1]]
    first = max(kinds, key=lambda one: (len(one["loc"]), not one["type"].endswith("_type")))
    param = path_of(first["loc"])
    if str(first["loc"][:1] and first["loc"][0]) in unsupported:
        message = f"{param}: is not supported here; leave it out"
        return RefusedError(400, message, code="unsupported_parameter", param=param)
    return RefusedError(400, f"{param or 'body'}: {message_of(first)}", code="invalid_value", param=param or None)
