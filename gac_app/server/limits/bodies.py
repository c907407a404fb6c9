"""Refusals, and bodies of requests: checked before use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from starlette.types import Message, Receive

from gac_app.ui.requests import VISITOR_KEY

# Gradio's own are 10 or 11 letters and digits, or a UUID.
_SESSION_HASH = re.compile(r"[0-9A-Za-z_-]{1,64}")
LARGE_BODY = 2_000  # bytes; checking more takes a millisecond, so it is done off the event loop
MAX_PARTS = 40_000  # arrays and objects of a body; a parser in C that makes more holds up everybody
# What a backslash begins: a pair of surrogates, a lone one (the group), anything else.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB]%b\\u[dD][c-fC-F]%b|\\(u[dD][89a-fA-F]%b)|\\." % ((b"[0-9a-fA-F]{2}",) * 3), re.DOTALL
)


class RefusedError(Exception):
    """A refused request.

    Args:
        status: of the answer.
        message: for the sender, without text of the request.
        retry_s: seconds before a retry; None = the same request fails again.
        code, param: the fault and the field, as the API tells them.

    Attributes:
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        retry_s: float | None = None,
        *,
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = {} if retry_s is None else {"Retry-After": str(max(1, math.ceil(retry_s)))}
        if status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"


def replaying(body: bytes, receive: Receive) -> Receive:
    """A `receive` that replays a body already read, then continues with the original."""
    read: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Message:
        return next(read, None) or await receive()

    return replay


def checked_body(body: bytes) -> tuple[bytes, dict[str, Any]]:
    """The JSON object of a body, and an equal body that is safe to pass on.

    Lone surrogates are replaced, and numbers are finite.

    Raises:
        RefusedError: (400) for anything but a valid JSON object of at most `MAX_PARTS`.
    """
    if body.count(b"[") + body.count(b"{") > MAX_PARTS:
        raise RefusedError(400, f"Too many arrays and objects; at most {MAX_PARTS:,} are taken.")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        body = _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            raise RefusedError(400, "Invalid JSON (NaN and Infinity are not allowed).") from None
    if not isinstance(value, dict):
        raise RefusedError(400, "The request has to be a JSON object.")
    return body, value


def session_hash_of(value: object) -> str:
    """A session hash. Raises RefusedError (400) if it is invalid."""
    if not isinstance(value, str) or not _SESSION_HASH.fullmatch(value):
        raise RefusedError(400, "Invalid session; reload the page.")
    return value


def visitor_key_in(body: Mapping[str, Any]) -> str:
    """The visitor's key in a body: the first input, or a field of an event's or a call's data; or empty."""
    data, event = body.get("data"), body.get("event_data")
    sent = data[:1] if isinstance(data, list) else [data.get("key")] if isinstance(data, dict) else []
    sent += [event.get("key")] if isinstance(event, dict) else []
    return next((key for key in sent if isinstance(key, str) and VISITOR_KEY.fullmatch(key)), "")
