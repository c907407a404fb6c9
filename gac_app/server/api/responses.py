"""`POST /v1/responses`, without state: nothing is stored, and no earlier response can be named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from fastapi.sse import format_sse_event
from pydantic import BaseModel

from gac_app.decoding.trace import FinishedEvent, FinishReason, TokenEvent
from gac_app.server.api.following import tokens_in, well_ended
from gac_app.server.api.forms import Form, usage_of
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
from gac_app.server.limits.bodies import RefusedError
from gac_app.services.completions.completion_run import CompletionRun


class Response(Form[ResponseRequest]):
    """A response. It has one choice, and the events of its stream say what they add to; none ends all streams."""

    path, prefix, ends_with = "/v1/responses", "resp", ""
    body, answer, chunk = ResponseRequest, ResponseBody, ResponseEvent

    def __init__(self, asked: ResponseRequest, run: CompletionRun, config_hash: str) -> None:
        super().__init__(asked, run, config_hash)
        self._numbers = count()
        self._item_id = f"msg_{run.id}"
        self._of_all: dict[str, Any] = {
            "id": f"resp_{run.id}",
            "created_at": self.head["created"],
            "model": asked.model,
            "instructions": asked.instructions,
            "max_output_tokens": run.settings.max_new_tokens,
            "metadata": asked.metadata or {},
            "temperature": run.settings.temperature,
            "top_p": run.settings.top_p,
        }

    def whole(self) -> ResponseBody:
        [stream] = self.run.streams.values()
        end, usage = well_ended(stream.finished), usage_of(self.run)
        status = _status(end)
        return ResponseBody(
            status=status,
            output=[self._message(status, end.text)],
            incomplete_details=IncompleteDetails() if status == "incomplete" else None,
            usage=ResponseUsage(
                input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=usage.total_tokens
            ),
            **self.extension(tokens_in(stream.events), end),
            **self._of_all,
        )

    def begin(self, key: str) -> Iterator[ResponseEvent]:
        begun = ResponseBody(status="in_progress", **self._of_all)
        yield self._event("response.created", response=begun)
        yield self._event("response.in_progress", response=begun)
        yield self._event("response.output_item.added", output_index=0, item=self._message("in_progress"))
        yield self._part("response.content_part.added", part=OutputText(text=""))

    def add(self, key: str, tokens: Sequence[TokenEvent]) -> Iterator[ResponseEvent]:
        if text := "".join(event.text for event in tokens):
            yield self._part("response.output_text.delta", delta=text, logprobs=[])

    def end(self, key: str, end: FinishedEvent) -> Iterator[ResponseEvent]:
        status = _status(end)
        yield self._part("response.output_text.done", text=end.text, logprobs=[])
        yield self._part("response.content_part.done", part=OutputText(text=end.text))
        yield self._event("response.output_item.done", output_index=0, item=self._message(status, end.text))
        yield self._event(f"response.{status}", response=self.whole())

    def failed(self, error: RefusedError) -> ResponseEvent:
        failed = ResponseError(message=error.message)
        return self._event("response.failed", response=ResponseBody(status="failed", error=failed, **self._of_all))

    def json(self, told: BaseModel) -> str:
        return told.model_dump_json(exclude_none=isinstance(told, ResponseEvent))

    def sent(self, told: Any) -> bytes:
        return format_sse_event(data_str=self.json(told), event=told.type)

    def _message(self, status: Status, text: str | None = None) -> OutputMessage:
        return OutputMessage(id=self._item_id, status=status, content=[] if text is None else [OutputText(text=text)])

    def _part(self, kind: str, **fields: Any) -> ResponseEvent:
        return self._event(kind, item_id=self._item_id, output_index=0, content_index=0, **fields)

    def _event(self, kind: str, **fields: Any) -> ResponseEvent:
        return ResponseEvent(type=kind, sequence_number=next(self._numbers), **fields)


def _status(end: FinishedEvent) -> Status:
    return "incomplete" if end.reason is FinishReason.LENGTH else "completed"
