"""A run in the form of an answer: whole, or as the chunks of a stream."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any, Generic, TypeVar

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from gac_app.decoding.trace import FinishedEvent, TokenEvent
from gac_app.server.api.answers import Usage, gac_answer
from gac_app.server.api.following import Following, RunStream, chunks_sent, pieces_of, refuse_failed, until_over
from gac_app.server.api.requests import Answered
from gac_app.services.completions.completion_run import CompletionRun

AskedT = TypeVar("AskedT", bound=Answered)


class Form(ABC, Generic[AskedT]):
    """What a kind of answer looks like.

    Args:
        config_hash: identifies what answered.
    """

    prefix: str  # of ids

    def __init__(self, asked: AskedT, run: CompletionRun, config_hash: str) -> None:
        self.asked, self.run = asked, run
        self.head = {
            "id": f"{self.prefix}-{run.id}",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": f"fp_{config_hash}",
        }

    @abstractmethod
    def whole(self) -> BaseModel:
        """The answer of a run that is over."""

    @abstractmethod
    def begin(self, key: str) -> Iterator[BaseModel]:
        """The chunks with which a choice begins."""

    @abstractmethod
    def add(self, key: str, tokens: Sequence[TokenEvent]) -> Iterator[BaseModel]:
        """The chunks of some tokens."""

    @abstractmethod
    def end(self, key: str, end: FinishedEvent) -> Iterator[BaseModel]:
        """The chunks with which a choice ends."""

    @abstractmethod
    def last(self, usage: Usage) -> BaseModel:
        """The chunk of the usage."""

    def ends(self) -> Iterator[tuple[str, list[TokenEvent], FinishedEvent]]:
        """The choices of a run that is over: key, tokens, end."""
        for key, stream in self.run.streams.items():
            assert stream.finished is not None  # noqa: S101 (it is over)
            yield key, [event for event in stream.events if isinstance(event, TokenEvent)], stream.finished

    def extension(self, tokens: Sequence[TokenEvent], end: FinishedEvent | None = None) -> dict[str, Any]:
        """The choice's field `gac`, where it is asked for."""
        if (gac := self.asked.gac) is None:
            return {}
        return {"gac": gac_answer([event.step for event in tokens], end, has_steps=gac.steps)}

    @property
    def no_usage(self) -> dict[str, None]:
        """The usage of chunks that have none."""
        return {"usage": None} if self.asked.wants_usage else {}

    async def chunks(self) -> AsyncGenerator[BaseModel | None]:
        """A stream's chunks; None for a pause. Raises ApiError where the run fails."""
        for key in self.run.streams:
            for chunk in self.begin(key):
                yield chunk
        async for piece in pieces_of(self.run):
            if piece is None:
                yield None
                continue
            key, tokens, end = piece
            for chunk in self.add(key, tokens):
                yield chunk
            if end:
                refuse_failed(end)
                for chunk in self.end(key, end):
                    yield chunk
        if self.asked.wants_usage:
            yield self.last(usage_of(self.run))


def usage_of(run: CompletionRun) -> Usage:
    """What a run that is over has cost."""
    num_read = sum(run.num_prompt_tokens[key] for key in list(run.streams)[:: run.question.num_choices])
    num_written = sum(stream.finished.num_tokens for stream in run.streams.values() if stream.finished)
    return Usage(prompt_tokens=num_read, completion_tokens=num_written, total_tokens=num_read + num_written)


async def answered(form: Form[Any], following: Following, request: Request) -> Response:
    """The response: a stream if it is asked for, else the whole once the run is over."""
    if form.asked.stream:
        return RunStream(following, chunks_sent(form.chunks()))
    await until_over(following, request)
    return Response(form.whole().model_dump_json(exclude_unset=True), media_type="application/json")
