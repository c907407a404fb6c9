"""Checks browsers' requests, without trusting the page's own script, and formats replies."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import anyio.to_thread
import gradio as gr
from gradio.context import LocalContext

from gac_app.errors import GacError, LoadingError, Phrase, RequestError, packed, too_long, without_folders
from gac_app.services.queue.shares import client_of

MAX_SEARCH_CHARS = 500
VISITOR_KEY = re.compile(r"[0-9a-f]{64}")  # 256 random bits that the browser drew
_MAX_ID_CHARS = 200
# In a request's state, where the host says so: awaited, whether somebody listens to its event; the `Account` or None.
HAS_LISTENER, ACCOUNT = "has_listener", "account"
_MAX_NUMBER = 2**53  # the largest whole number a browser can send exactly

_LINE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
MAX_EVENTS = 200  # of all visitors, queued or running; each mostly sleeps, and none waits for another's database

Reply = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")
Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True, slots=True)
class Account:
    """Who is signed in.

    Attributes:
        key: the visitor's key, which no browser knows; of the same form as those that browsers draw.
        name: for the visitor's own page; never stored.
        left_s: seconds until they are signed out; None = not foreseen.
    """

    key: str
    name: str
    left_s: float | None


class Fields:
    """The fields of a request, with their types checked on access. To be made while the request is handled.

    Args:
        data: whatever the browser sent.

    Attributes:
        account: who is signed in, by what the host says; nothing that the browser sends in `data` changes it.

    Raises:
        RequestError: from every method, naming the field.
    """

    def __init__(self, data: object) -> None:
        if not isinstance(data, Mapping):
            raise RequestError("request", "expected an object")
        self._data = data
        self.account = account_here()

    @property
    def visitor_key(self) -> str:
        """The account's key, else the browser's."""
        return self.account.key if self.account else self.browser_key

    @property
    def browser_key(self) -> str:
        """What the browser drew: 64 hexadecimal digits."""
        value = self._data.get("key")
        if not isinstance(value, str) or not VISITOR_KEY.fullmatch(value):
            raise RequestError(
                "visitor key", Phrase("The browser sent no visitor key. Allow storage for this page and reload it.")
            )
        return value

    def text(self, name: str, max_chars: int = _MAX_ID_CHARS) -> str:
        value = self._data.get(name)
        if not isinstance(value, str):
            raise RequestError(name, "expected text")
        if len(value) > max_chars:
            raise RequestError(name, too_long(len(value), max_chars))
        return value

    def texts(self, name: str, max_items: int) -> list[str]:
        """Several ids, each once."""
        value = self._data.get(name)
        if not isinstance(value, list) or not all(
            isinstance(item, str) and len(item) <= _MAX_ID_CHARS for item in value
        ):
            raise RequestError(name, "expected a list of texts")
        if len(value) > max_items:
            raise RequestError(name, f"expected at most {max_items}")
        return list(dict.fromkeys(value))

    def flag(self, name: str) -> bool:
        value = self._data.get(name)
        if not isinstance(value, bool):
            raise RequestError(name, "expected true or false")
        return value

    def choice(self, name: str, choices: Sequence[Choice]) -> Choice:
        value = self.text(name)
        for one in choices:
            if one == value:
                return one
        raise RequestError(name, f"expected one of {', '.join(choices)}")

    def time(self, name: str) -> datetime | None:
        """A time with its zone; None if empty."""
        value = self.text(name)
        if not value:
            return None
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo:
                return moment.astimezone(UTC)
        raise RequestError(name, "expected a date and time with its zone")

    def unchecked(self, name: str) -> Any:
        """The raw value, which the caller must check; None if missing."""
        return self._data.get(name)

    def number(self, name: str) -> int:
        value = self._data.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MAX_NUMBER:
            raise RequestError(name, "expected a whole number of at least 0")
        return value


class Threads:
    """Threads for what must not run on the event loop: the database, and all that takes more than a millisecond."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(MAX_EVENTS)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a thread, and wait for it without holding up the loop."""
        call = partial(function, *args, **kwargs)
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)


async def has_listener() -> bool:
    """Whether the current event has a listener, as far as the host knows."""
    request = LocalContext.request.get(None)
    heard = getattr(request.request.state, HAS_LISTENER, None) if request and request.request else None
    return heard is None or await heard()


def account_here() -> Account | None:
    """Who is signed in, of the event or call that is being handled."""
    request = LocalContext.request.get(None)
    request = getattr(request, "request", None) or request  # Gradio wraps an event's, but not a call's
    account = getattr(getattr(request, "state", None), ACCOUNT, None)
    return account if isinstance(account, Account) else None


def client_here() -> str:
    """The client's name of the current event."""
    request = LocalContext.request.get(None)
    return client_of(request.client.host) if request and request.client else ""


def same(one: object, *names: str) -> Reply:
    """The attributes that the page calls as the program does."""
    return {name: getattr(one, name) for name in names}


def page_json(value: Any) -> str:
    """A component's value as JSON, phrases as their parts; without "<", so that Gradio finds no tags in what a model or
    visitor wrote.
    """
    return json.dumps(packed(value)).replace("<", "\\u003c")


def page_line(value: Any) -> str:
    """A line of a value that grows, as `page_json`."""
    return _LINE.encode(packed(value)).replace("<", "\\u003c") + "\n"


def refusal_json(error: GacError) -> str:
    """An error and the faulty field as a component's value. By its time each differs, and is shown too."""
    field = error.field if isinstance(error, RequestError) else ""
    return page_json({**_refusal(error), "field": field, "at": time.monotonic()})


def _refusal(error: GacError) -> Reply:
    """An error in words; one that `passes` once the members are loaded says so."""
    passes = {"passes": True} if isinstance(error, LoadingError) else {}
    return {"error": without_folders(error.user_message), **passes}


PageFunction = Callable[[Fields], Reply | None]  # called by the page's script


def replying(function: PageFunction) -> Callable[[object], Reply]:
    """Wrap a function that the page's script calls: errors raised on purpose become `_refusal`, None {}."""

    @wraps(function)
    def reply(data: object = None) -> Reply:
        try:
            found = function(Fields(data)) or {}
        except GacError as error:
            found = _refusal(error)
        return {name: packed(value) for name, value in found.items()}

    return reply


def started_by(function: Callable[..., None]) -> Callable[..., str]:
    """An event handler for data that is too long for a script's call; `function` handles it.

    The reply becomes the component's value, as JSON: the error, and the `at` of the request, so that equal errors
    differ.
    """

    def handler(event: gr.EventData) -> str:
        at, refusal = 0, Reply(error="")
        try:
            fields = Fields(event._data)
            at = fields.number("at")
            function(fields)
        except GacError as reason:
            refusal = _refusal(reason)
        return page_json({"at": at, **refusal})

    return handler
