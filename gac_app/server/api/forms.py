"""Requests for an answer, and a run in the form of one: whole, or as the chunks of a stream."""

# Annotations are not postponed: FastAPI reads the dependencies in them, which are local.

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from pydantic import BaseModel

from gac_app.decoding.trace import FinishedEvent, TokenEvent
from gac_app.server.api.access import Access
from gac_app.server.api.answers import FINISH, Usage, gac_answer
from gac_app.server.api.bodies import body_of, described
from gac_app.server.api.errors import error_body
from gac_app.server.api.following import RunStream, begin, pieces_of, tokens_in, until_over, well_ended
from gac_app.server.api.requests import Answered, Sampling
from gac_app.server.limits.bodies import RefusedError
from gac_app.services.completions.completion_run import CompletionRun
from gac_app.services.completions.completions import Asker, Completions

AskedT = TypeVar("AskedT", bound=Answered)
SampledT = TypeVar("SampledT", bound=Sampling)

MANY_TOKENS = 8  # are written off the event loop


class Form(ABC, Generic[AskedT]):
    """What a kind of answer looks like.

    Args:
        config_hash: identifies what answered.

    Attributes:
        path: of its requests, whose body is a `body`.
        answer, chunk: models of the whole, and of each event of a stream.
        prefix: of ids.
        ends_with: the data of a stream's last event, if that is always the same.
    """

    path: ClassVar[str]
    body: ClassVar[type[Answered]]
    answer: ClassVar[type[BaseModel]]
    chunk: ClassVar[type[BaseModel]]
    prefix: ClassVar[str]
    ends_with: ClassVar[str] = "[DONE]"

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
        """The answer of a run that is over. Raises RefusedError if a stream failed."""

    def begin(self, key: str) -> Iterator[BaseModel]:
        """The chunks with which a choice begins."""
        yield from ()

    @abstractmethod
    def add(self, key: str, tokens: Sequence[TokenEvent]) -> Iterator[BaseModel]:
        """The chunks of some tokens."""

    @abstractmethod
    def end(self, key: str, end: FinishedEvent) -> Iterator[BaseModel]:
        """The chunks with which a choice ends."""

    def last(self) -> Iterator[BaseModel]:
        """The chunks after those of all choices."""
        yield from ()

    def failed(self, error: RefusedError) -> BaseModel:
        """The event of an error in a stream."""
        return error_body(error)

    def json(self, told: BaseModel) -> str:
        """A whole answer, or the data of an event."""
        return told.model_dump_json(exclude_unset=True)

    def sent(self, told: BaseModel) -> bytes:
        """An event of a stream."""
        return format_sse_event(data_str=self.json(told))

    def extension(self, tokens: Sequence[TokenEvent], end: FinishedEvent | None) -> dict[str, Any]:
        """The field `gac` of what has tokens or is the end, where it is asked for."""
        if (gac := self.asked.gac) is None or not (tokens or end):
            return {}
        return {"gac": gac_answer([event.step for event in tokens], end, has_steps=gac.steps)}

    async def events(self) -> AsyncIterator[bytes]:
        """A stream. An error is the last event but the one that all streams end with."""
        fresh = set(self.run.streams)
        try:
            for key in self.run.streams:
                yield self._written(self.begin, key)
            async with aclosing(pieces_of(self.run)) as pieces:
                async for piece in pieces:
                    if piece is None:
                        yield KEEPALIVE_COMMENT
                        continue
                    key, tokens, end = piece
                    # A first piece may have a prompt's scores, and a last one the whole answer.
                    is_short = key not in fresh and len(tokens) < MANY_TOKENS and end is None
                    fresh.discard(key)
                    add = partial(self._written, self.add, key, tokens)
                    if chunks := add() if is_short else await run_in_threadpool(add):
                        yield chunks
                    if end:
                        yield await run_in_threadpool(self._written, self.end, key, well_ended(end))
            for chunk in self.last():
                yield self.sent(chunk)
        except RefusedError as error:
            yield self.sent(self.failed(error))
        if self.ends_with:
            yield format_sse_event(data_str=self.ends_with)

    def _written(self, chunks_of: Callable[..., Iterator[BaseModel]], *of: Any) -> bytes:
        return b"".join(map(self.sent, chunks_of(*of)))


class Choices(Form[SampledT]):
    """Answers that consist of `choices`: those of chats and completions."""

    @abstractmethod
    def whole_text(self, key: str, text: str) -> dict[str, Any]:
        """The field of a choice that has the whole text of an answer."""

    @abstractmethod
    def piece(self, text: str | None) -> dict[str, Any]:
        """The field of a chunk's choice that has some text; None = no more comes."""

    @abstractmethod
    def logprobs(self, key: str, tokens: Sequence[TokenEvent]) -> BaseModel | None:
        """Those of tokens, where they are asked for."""

    def whole(self) -> BaseModel:
        choices = []
        for key, stream in self.run.streams.items():
            end, tokens = well_ended(stream.finished), tokens_in(stream.events)
            said, logprobs = self.whole_text(key, end.text), self.logprobs(key, tokens)
            choices.append(self.choice(key, said, tokens, end, logprobs))
        return self._made(self.answer, choices, usage=usage_of(self.run))

    def choice(
        self,
        key: str,
        said: dict[str, Any],
        tokens: Sequence[TokenEvent] = (),
        end: FinishedEvent | None = None,
        logprobs: BaseModel | None = None,
    ) -> dict[str, Any]:
        reason = end and FINISH[end.reason]
        return {"index": int(key), **said, "finish_reason": reason, "logprobs": logprobs, **self.extension(tokens, end)}

    def added(self, *choices: dict[str, Any], **usage: Usage | None) -> BaseModel:
        """A chunk. If it has no usage, that is told where a last chunk has it."""
        return self._made(self.chunk, choices, **(usage or ({"usage": None} if self.asked.wants_usage else {})))

    def _made(self, kind: type[BaseModel], choices: Sequence[dict[str, Any]], **usage: Usage | None) -> BaseModel:
        return kind(object=kind.model_fields["object"].default, choices=choices, **usage, **self.head)

    def add(self, key: str, tokens: Sequence[TokenEvent]) -> Iterator[BaseModel]:
        text = "".join(event.text for event in tokens)
        if text or (tokens and (self.asked.num_top is not None or self.asked.gac)):
            yield self.added(self.choice(key, self.piece(text), tokens, logprobs=self.logprobs(key, tokens)))

    def end(self, key: str, end: FinishedEvent) -> Iterator[BaseModel]:
        yield self.added(self.choice(key, self.piece(None), end=end))

    def last(self) -> Iterator[BaseModel]:
        if self.asked.wants_usage:
            yield self.added(usage=usage_of(self.run))


def usage_of(run: CompletionRun) -> Usage:
    """What a run that is over has cost."""
    num_read = sum(run.num_prompt_tokens[key] for key in list(run.streams)[:: run.question.num_choices])
    num_written = sum(stream.finished.num_tokens for stream in run.streams.values() if stream.finished)
    return Usage(prompt_tokens=num_read, completion_tokens=num_written, total_tokens=num_read + num_written)


def answering_route(form: type[Form[Any]], completions: Completions, access: Access) -> APIRouter:
    """The route of a kind of answer: a stream if it is asked for, else the whole once the run is over."""
    router, options = APIRouter(), described(form.body, form.chunk, form.ends_with)
    callers = access.callers

    @router.post(form.path, name=form.__name__.lower(), response_model=form.answer, **options)
    async def answer(
        request: Request,
        asker: Annotated[Asker, Depends(access)],
        asked: Annotated[Answered, Depends(body_of(form.body, callers))],
    ) -> Response:
        is_heavy = asked.changes().get("json_schema") is not None
        run = await callers.work(asker.client, partial(begin, completions, asked, asker), is_heavy=is_heavy)
        told = form(asked, run, completions.config_hash)
        if asked.stream:
            return RunStream(told.events(), completions.following(run))
        with completions.following(run):
            await until_over(run, request)
        whole = await callers.work(asker.client, lambda: told.json(told.whole()))
        return Response(whole, media_type="application/json")

    return router
