"""Runs of programs, followed until they end or nobody waits any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass

from fastapi import Request
from fastapi.sse import EventSourceResponse
from starlette.types import Receive, Scope, Send

from gac_app.decoding.trace import FinishedEvent, FinishReason, TokenEvent
from gac_app.server.api.errors import RETRY_S
from gac_app.server.api.requests import Answered
from gac_app.server.limits.bodies import RefusedError
from gac_app.services.completions.completion_run import CompletionRun, Question
from gac_app.services.completions.completions import Asker, Completions
from gac_app.services.runs.live_run import changes_of

PING_S = 15.0  # of silence; then a comment is sent, so that no proxy ends a stream that waits
_SENT = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class Following:
    """A run that goes on until `leave` is closed."""

    run: CompletionRun
    leave: ExitStack


def begin(completions: Completions, asked: Answered, asker: Asker) -> Following:
    """Queue a run. Raises as `Completions.start`, and NotFoundError for an unknown model."""
    system, leave = completions.systems.find(asked.model), ExitStack()
    question = Question(
        system=system,
        settings=completions.systems.settings_from(system, asked.changes()),
        prompts=asked.asked_prompts(),
        num_choices=asked.num_choices,
        num_top=asked.num_scored,
        is_answered=asked.is_answered,
    )
    run = completions.start(question, asker)
    leave.enter_context(completions.following(run))
    return Following(run, leave)


async def until_over(following: Following, request: Request) -> None:
    """Wait for the run's end, or for the client to go away; then the run ends within a step.

    Raises:
        RefusedError: one of its streams failed.
    """
    with following.leave:
        waits = [asyncio.create_task(_over(following.run)), asyncio.create_task(_gone(request))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
    for stream in following.run.streams.values():
        refuse_failed(stream.finished)


async def _over(run: CompletionRun) -> None:
    async with changes_of(run) as changed:
        while not run.over.is_set():
            changed.clear()
            if not run.over.is_set():
                await changed.wait()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def refuse_failed(end: FinishedEvent | None) -> None:
    """Raise RefusedError unless a stream has ended well."""
    if end is None or end.reason is FinishReason.ABORT:
        detail = (end and end.detail) or "the request was ended before its answer was"
        raise RefusedError(503, detail, RETRY_S, code="aborted")
    if end.is_at_odds:
        raise RefusedError(400, end.detail, code="invalid_value")
    if end.reason is FinishReason.ERROR:
        raise RefusedError(500, end.detail, code="member_failed")


async def pieces_of(run: CompletionRun) -> AsyncGenerator[tuple[str, list[TokenEvent], FinishedEvent | None] | None]:
    """What each stream adds, as it comes: its key, its token events, and its end. None after `PING_S` of silence."""
    num_told = dict.fromkeys(run.streams, 0)
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
                    yield key, [event for event in new if isinstance(event, TokenEvent)], end
            try:
                if not is_over:
                    await asyncio.wait_for(changed.wait(), PING_S)
            except TimeoutError:
                yield None


class RunStream(EventSourceResponse):
    """Server-sent events of a run, which goes on while they are read."""

    def __init__(self, following: Following, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, headers=_SENT)
        self._leave = following.leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._leave:  # also where the client has gone before the first chunk
            await super().__call__(scope, receive, send)
