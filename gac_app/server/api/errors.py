"""Errors of the API, in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import math
from collections.abc import Mapping
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


class ApiError(Exception):
    """An answer that is an error.

    Args:
        retry_s: seconds before a retry; None = the same request fails again.
        headers: others of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.status = status
        self._headers = dict(headers or {})
        if retry_s is not None:
            self._headers["Retry-After"] = str(max(1, math.ceil(retry_s)))
        if status == 401:
            self._headers["WWW-Authenticate"] = "Bearer"
        self.body = ErrorBody(error=ErrorFacts(message=message, type=kind, param=param, code=code))

    def response(self) -> JSONResponse:
        return JSONResponse(self.body.model_dump(), self.status, self._headers)


def error_of(error: Exception, params: Mapping[str, str]) -> ApiError:
    """The answer to an error raised on purpose.

    Args:
        params: the request's name of a setting, where it has another one.
    """
    message = without_folders(str(error))
    match error:
        case ApiError():
            return error
        case RefusedError():
            return ApiError(error.status, error.message, headers=error.headers)
        case HTTPException():
            message = "No such endpoint" if error.status_code == 404 else str(error.detail)
            return ApiError(error.status_code, message, headers=error.headers)
        case RequestError():
            param = params.get(error.field, error.field)
            code = "context_length_exceeded" if isinstance(error, TooLongError) else "invalid_value"
            return ApiError(400, f"{param}: {without_folders(error.message)}", code=code, param=param)
        case NotFoundError():
            return ApiError(404, message, code="model_not_found", param="model")
        case LimitError():
            return ApiError(429, message, code="rate_limit_exceeded", retry_s=RETRY_S)
        case BusyError():
            return ApiError(503, message, code="queue_full", retry_s=RETRY_S)
    return ApiError(503, message, code="unavailable", retry_s=RETRY_S)


def invalid(error: ValidationError, unsupported: frozenset[str]) -> ApiError:
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
        return ApiError(400, message, code="unsupported_parameter", param=param)
    return ApiError(400, f"{param or 'body'}: {message_of(first)}", code="invalid_value", param=param or None)
