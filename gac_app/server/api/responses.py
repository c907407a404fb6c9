"""`POST /v1/responses`, without state: nothing is stored, and no earlier response can be named."""

# Annotations are not postponed: FastAPI reads the dependencies in them, which are local.

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from itertools import count
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from gac_app.decoding.trace import FinishedEvent, FinishReason, TokenEvent
from gac_app.server.api.access import Access
from gac_app.server.api.answers import gac_answer
from gac_app.server.api.description import described
from gac_app.server.api.errors import ApiError
from gac_app.server.api.following import RunStream, begin, pieces_of, refuse_failed, until_over
from gac_app.server.api.forms import usage_of
from gac_app.server.api.reading import body_of
from gac_app.server.api.response_models import (
    IncompleteDetails,
    OutputMessage,
    OutputText,
    ResponseBody,
    ResponseError,
    ResponseEvent,
    ResponseRequest,
    ResponseUsage,
    Status,
)
from gac_app.services.completions.completion_run import CompletionRun, Question
from gac_app.services.completions.completions import Asker, Completions


def response_route(completions: Completions, access: Access) -> APIRouter:
    """The route. A streamed response is a series of `ResponseEvent`, without `[DONE]`."""
    router = APIRouter()

    def question(asked: ResponseRequest) -> Question:
        system = completions.systems.find(asked.model)
        settings = completions.systems.settings_from(system, asked.changes())
        return Question(system=system, settings=settings, prompts=(asked.chat(),))

    @router.post("/v1/responses", response_model=ResponseBody, **described(ResponseRequest, ResponseEvent))
    async def respond(
        request: Request,
        asker: Annotated[Asker, Depends(access)],
        asked: Annotated[ResponseRequest, Depends(body_of(ResponseRequest))],
    ) -> Response:
        following = await begin(completions, lambda: question(asked), asker)
        told = _Told(asked, following.run)
        if asked.stream:
            return RunStream(following, _sent(told.events()))
        await until_over(following, request)
        return Response(told.whole().model_dump_json(), media_type="application/json")

    return router


async def _sent(events: AsyncGenerator[ResponseEvent | None]) -> AsyncIterator[bytes]:
    async for event in events:
        if event is None:
            yield KEEPALIVE_COMMENT
        else:
            yield format_sse_event(data_str=event.model_dump_json(exclude_none=True), event=event.type)


class _Told:
    """A run as a response."""

    def __init__(self, asked: ResponseRequest, run: CompletionRun) -> None:
        self._asked, self._run = asked, run
        self._numbers = count()
        self._item_id = f"msg_{run.id}"
        settings = run.settings
        self._head: dict[str, Any] = {
            "id": f"resp_{run.id}",
            "created_at": int(time.time()),
            "model": asked.model,
            "instructions": asked.instructions,
            "max_output_tokens": settings.max_new_tokens,
            "metadata": asked.metadata or {},
            "temperature": settings.temperature,
            "top_p": settings.top_p,
        }

    def whole(self) -> ResponseBody:
        """Of a run that has ended well."""
        [stream] = self._run.streams.values()
        end = stream.finished
        assert end is not None  # noqa: S101 (it is over)
        is_cut = end.reason is FinishReason.LENGTH
        status: Status = "incomplete" if is_cut else "completed"
        usage = usage_of(self._run)
        extension = None
        if self._asked.gac:
            steps = [event.step for event in stream.events if isinstance(event, TokenEvent)]
            extension = gac_answer(steps, end, has_steps=self._asked.gac.steps)
        return ResponseBody(
            status=status,
            output=[self._message(status, end.text)],
            incomplete_details=IncompleteDetails() if is_cut else None,
            usage=ResponseUsage(
                input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=usage.total_tokens
            ),
            gac=extension,
            **self._head,
        )

    async def events(self) -> AsyncGenerator[ResponseEvent | None]:
        """Of a stream; None for a pause."""
        begun = ResponseBody(status="in_progress", **self._head)
        yield self._event("response.created", response=begun)
        yield self._event("response.in_progress", response=begun)
        yield self._event("response.output_item.added", output_index=0, item=self._message("in_progress"))
        yield self._part("response.content_part.added", part=OutputText(text=""))
        try:
            async for piece in pieces_of(self._run):
                if piece is None:
                    yield None
                    continue
                _, tokens, end = piece
                if text := "".join(event.text for event in tokens):
                    yield self._part("response.output_text.delta", delta=text, logprobs=[])
                if end:
                    refuse_failed(end)
                    for event in self._ends(end):
                        yield event
        except ApiError as error:
            failed = ResponseError(message=error.body.error.message)
            yield self._event("response.failed", response=ResponseBody(status="failed", error=failed, **self._head))
            return
        whole = self.whole()
        yield self._event(f"response.{whole.status}", response=whole)

    def _ends(self, end: FinishedEvent) -> Iterator[ResponseEvent]:
        status: Status = "incomplete" if end.reason is FinishReason.LENGTH else "completed"
        yield self._part("response.output_text.done", text=end.text, logprobs=[])
        yield self._part("response.content_part.done", part=OutputText(text=end.text))
        yield self._event("response.output_item.done", output_index=0, item=self._message(status, end.text))

    def _message(self, status: Status, text: str | None = None) -> OutputMessage:
        return OutputMessage(id=self._item_id, status=status, content=[] if text is None else [OutputText(text=text)])

    def _part(self, kind: str, **fields: Any) -> ResponseEvent:
        return self._event(kind, item_id=self._item_id, output_index=0, content_index=0, **fields)

    def _event(self, kind: str, **fields: Any) -> ResponseEvent:
        return ResponseEvent(type=kind, sequence_number=next(self._numbers), **fields)
