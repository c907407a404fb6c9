"""Admits the page's events before Gradio keeps or computes anything for them.

Requests are refused, not dropped: 429 for callers over their limit, other codes for malformed requests.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from urllib.parse import parse_qs
from weakref import WeakValueDictionary

from gradio.queueing import Event
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gac_app.server.limits.bodies import (
    RefusedError,
    checked_body,
    replaying,
    session_hash_of,
    visitor_key_in,
)
from gac_app.server.limits.callers import Caller, Callers, Quota, client_in, cookie_in, make_room, new_cookie
from gac_app.server.middleware import GRADIO_API, POST_ROUTES, with_start
from gac_app.server.page.gradio_page import GradioPage
from gac_app.server.page.sessions import Session, Sessions
from gac_app.ui.requests import HAS_LISTENER, MAX_EVENTS

logger = logging.getLogger(__name__)

STREAMS = ("queue", "heartbeat")  # opened by GET
EVENTS_PER_VISITOR = 4  # queued or running at once
ABANDONED_S = 1.5  # an event goes on so long after its last listener has left, and until the next sweep
FIRST_LISTENER_S = 15.0  # so long it waits for its first, without computing anything; ABANDONED_S where room is short
SWEEP_S = 0.5
CLOSING_S = 0.1  # from the end of a session's event stream until its page is sure to know
_END_OF_STREAM = b'data: {"msg":"close_stream"'


class Admission:
    """Which events of the page are admitted, and how long they go on. One per host.

    Args:
        visitors_per_client: how many visitors one address may stand for.
    """

    def __init__(self, visitors_per_client: int) -> None:
        self.page: GradioPage | None = None  # set once it is mounted
        self._events_per_client = max(EVENTS_PER_VISITOR, min(visitors_per_client, MAX_EVENTS // 2))
        self.callers = Callers(visitors_per_client)
        self.sessions = Sessions(2 * visitors_per_client, self._forget)
        self._joining: WeakValueDictionary[Caller, asyncio.Lock] = WeakValueDictionary()

    def _forget(self, session_hash: str) -> None:
        if self.page:
            self.page.forget(session_hash)

    def joining(self, caller: Caller) -> asyncio.Lock:
        """A lock to hold from `make_room` until the event is queued, so that a visitor's events come one after
        another.
        """
        return self._joining.setdefault(caller, asyncio.Lock())

    async def make_room(self, caller: Caller) -> None:
        """If the caller, its client or all together have too many events, end one of theirs that waits for a listener.
        Raises RefusedError (429) if there is none.
        """
        for event, session in make_room(
            [((event, session), session.caller) for event, session in self._events() if session],
            caller,
            Quota(EVENTS_PER_VISITOR, self._events_per_client, MAX_EVENTS),
            lambda pair: self.sessions.abandoned_s(pair[1], pair[0].enqueue_time) > ABANDONED_S,
            (
                RefusedError(429, "Your runs before this one have to end first.", 2),
                RefusedError(429, "There are too many runs at the moment; please try again soon.", 5),
            ),
        ):
            await self._end(event, session)

    @asynccontextmanager
    async def sweeping(self) -> AsyncIterator[None]:
        """Until the block ends, end events without a listener and drop idle sessions."""
        task = asyncio.create_task(self._sweep())
        yield
        task.cancel()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self._sweep_once()
            except Exception:
                logger.exception("sweeping broke")

    async def _sweep_once(self) -> None:
        self.sessions.drop_idle()
        for event, session in self._events():
            if session is None or self._is_overdue(event, session):
                await self._end(event, session)

    def _events(self) -> list[tuple[Event, Session | None]]:
        """The page's events, each with its session, if that is still there."""
        known = {session.hash: session for session in self.sessions.all()}
        return [(event, known.get(event.session_hash)) for event in self.page.events()] if self.page else []

    def _is_overdue(self, event: Event, session: Session) -> bool:
        most_s = ABANDONED_S if self.sessions.had_listener(session, event.enqueue_time) else FIRST_LISTENER_S
        return self.sessions.abandoned_s(session, event.enqueue_time) > most_s

    async def _end(self, event: Event, session: Session | None) -> None:
        """End an event that nobody listens to; what waits in its session does not begin any more."""
        assert self.page is not None  # noqa: S101 (no event without a page)
        if session:
            session.wake()
        await self.page.end_event(event)


async def has_listener(session: Session) -> bool:
    """Whether a session has a listener, now or soon."""
    with suppress(TimeoutError):
        await asyncio.wait_for(session.heard.wait(), FIRST_LISTENER_S)
    return session.num_listeners > 0


class EventMiddleware:
    """Middleware: requests to Gradio's routes need admission; the page sets the browser's cookie."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self.app, self._admission = app, admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(GRADIO_API):
            await self._pass_event(scope, receive, send)
        else:
            await self.app(scope, receive, _with_cookie(scope, send))

    async def _pass_event(self, scope: Scope, receive: Receive, send: Send) -> None:
        route, _, rest = scope["path"].removeprefix(GRADIO_API).strip("/").partition("/")
        if scope["method"] == "POST" and route in POST_ROUTES:
            body, session = await self._checked(scope, receive, route)
            if route != "queue" or session is None:
                async with self._admission.callers.calling(client_in(scope)):
                    await self.app(scope, replaying(body, receive), send)
                return
            state = {**scope.get("state", {}), HAS_LISTENER: partial(has_listener, session)}
            async with self._admission.joining(session.caller):
                await self._admission.make_room(session.caller)
                await self.app({**scope, "state": state}, replaying(body, receive), _after_end(session, send))
        elif scope["method"] == "GET" and route in STREAMS and rest != "status":
            await self._pass_stream(scope, receive, send)
        else:
            self._admission.callers.admit(self._admission.callers.caller(scope))
            await self.app(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, kind: str) -> tuple[bytes, Session | None]:
        """The checked body of a request that changes something, and its session."""
        admission = self._admission
        sent, callers = await Request(scope, receive).body(), admission.callers
        body, value = await callers.parsed(client_in(scope), sent, checked_body)
        caller = callers.caller(scope, visitor_key_in(value))
        callers.admit(caller, len(body))
        if kind == "reset":
            return body, None
        page, session_hash = admission.page, session_hash_of(value.get("session_hash"))
        if page is None:
            raise RefusedError(404, "There is no page.")
        if kind == "cancel":
            if (session := admission.sessions.find(session_hash, caller)) is None:
                raise RefusedError(404, "There is no such session.")
            return body, session
        if kind == "component_server":
            page.check_call(value)
        else:
            page.check_event(value, is_queued=kind == "queue")
        return body, admission.sessions.enter(session_hash, caller)

    async def _pass_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        admission, caller = self._admission, self._admission.callers.caller(scope)
        listens = scope["path"] == f"{GRADIO_API}queue/data"
        if listens:
            query = parse_qs(scope["query_string"].decode("ascii", "replace"), max_num_fields=10)
            session_hash = session_hash_of(query.get("session_hash", [""])[-1])
        else:
            session_hash = session_hash_of(scope["path"].rpartition("/")[2])
        session = admission.sessions.find(session_hash, caller)
        # A stream's request has no visitor's key; the event that began the session had it.
        admission.callers.admit(session.caller if session else caller)
        if not listens:
            session = admission.sessions.enter(session_hash, caller)
        elif session is None or admission.page is None or not admission.page.has_stream(session_hash):
            raise RefusedError(404, "There is no such session.")
        admission.sessions.open_stream(session, listens=listens)
        try:
            await self.app(scope, receive, _noting_end(session, send) if listens else send)
        finally:
            admission.sessions.close_stream(session, listens=listens)


def _noting_end(session: Session, send: Send) -> Send:
    async def noting(message: Message) -> None:
        if message.get("body", b"").startswith(_END_OF_STREAM):
            session.ended_at = time.monotonic()
        await send(message)

    return noting


def _after_end(session: Session, send: Send) -> Send:
    """A `send` for the reply to an event. Gradio's script opens a stream at the reply, unless it believes that one is
    open: where the reply overtook the last stream's end, it would listen to nothing, for ever.
    """

    async def waiting(message: Message) -> None:
        await asyncio.sleep(session.ended_at + CLOSING_S - time.monotonic())
        await send(message)

    return waiting


def _with_cookie(scope: Scope, send: Send) -> Send:
    """A `send` that sets the browser's cookie with the page, if it has none."""
    if scope["type"] != "http" or scope["path"] != "/" or cookie_in(scope):
        return send
    return with_start(send, lambda start: MutableHeaders(scope=start).append("Set-Cookie", new_cookie(scope)))
