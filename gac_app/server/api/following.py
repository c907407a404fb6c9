"""Runs of programs, followed until they end or nobody waits any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractContextManager

from fastapi import Request
from fastapi.sse import EventSourceResponse
from starlette.types import Receive, Scope, Send

from gac_app.decoding.trace import Event, FinishedEvent, FinishReason, TokenEvent
from gac_app.server.api.errors import RETRY_S
from gac_app.server.api.requests import Answered
from gac_app.server.limits.bodies import RefusedError
from gac_app.services.completions.completion_run import CompletionRun, Question
from gac_app.services.completions.completions import Asker, Completions
from gac_app.services.runs.live_run import changes_of

PING_S = 15.0  # of silence; then a comment is sent, so that no proxy ends a stream that waits
_SENT = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def begin(completions: Completions, asked: Answered, asker: Asker) -> CompletionRun:
    """Queue a run. Raises as `Completions.start`, and NotFoundError for an unknown model."""
    system = completions.systems.find(asked.model)
    settings = completions.systems.settings_from(system, asked.changes())
    return completions.start(Question(system=system, settings=settings, **asked.question()), asker)


async def until_over(run: CompletionRun, request: Request) -> None:
    """Wait for the run's end, or for the client to go away."""
    async with changes_of(run) as changed:
        gone = asyncio.create_task(_gone(request, changed))
        try:
            while not (run.over.is_set() or gone.done()):
                await changed.wait()
                changed.clear()
        finally:
            gone.cancel()


async def _gone(request: Request, changed: asyncio.Event) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    changed.set()


def well_ended(end: FinishedEvent | None) -> FinishedEvent:
    """The end of a stream. Raises RefusedError unless it has ended well."""
    if end is None or end.reason is FinishReason.ABORT:
        detail = (end and end.detail) or "the request was ended before its answer was"
        raise RefusedError(503, detail, RETRY_S, code="aborted")
    if end.is_at_odds:
        raise RefusedError(400, end.detail, code="invalid_value")
    if end.reason is FinishReason.ERROR:
        raise RefusedError(500, end.detail, code="member_failed")
    return end


def tokens_in(events: Sequence[Event]) -> list[TokenEvent]:
    return [event for event in events if isinstance(event, TokenEvent)]


async def pieces_of(run: CompletionRun) -> AsyncGenerator[tuple[str, list[TokenEvent], FinishedEvent | None] | None]:
    """What each stream adds, as it comes: its key, its token events, and its end. None after `PING_S` of silence."""
    num_told, loop = dict.fromkeys(run.streams, 0), asyncio.get_running_loop()
    told_at = loop.time()  # a change may be none to tell, such as of the place in the queue
    async with changes_of(run) as changed:
        is_over = False
        while not is_over:
            changed.clear()
            is_over = run.over.is_set()
            for key, stream in run.streams.items():
                new = stream.events[num_told[key] :]
                num_told[key] += len(new)
                if new:
                    end = new[-1] if isinstance(new[-1], FinishedEvent) else None
                    yield key, tokens_in(new), end
                    told_at = loop.time()
            try:
                if not is_over:
                    async with asyncio.timeout_at(told_at + PING_S):
                        await changed.wait()
            except TimeoutError:
                yield None
                told_at = loop.time()


class RunStream(EventSourceResponse):
    """Server-sent events of a run, which goes on while they are read."""

    def __init__(self, events: AsyncIterator[bytes], following: AbstractContextManager[None]) -> None:
        super().__init__(events, headers=_SENT)
        self._following = following

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._following:  # also where the client has gone before the first chunk
            await super().__call__(scope, receive, send)
