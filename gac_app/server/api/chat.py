"""`POST /v1/chat/completions`."""

# Annotations are not postponed: FastAPI reads the dependencies in them, which are local.
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from gac_app.decoding.trace import FinishedEvent, TokenEvent
from gac_app.server.api.access import Access
from gac_app.server.api.answers import (
    FINISH,
    AnswerMessage,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatLogprobs,
    Delta,
    FinishName,
    chat_logprob,
    gac_answer,
)
from gac_app.server.api.description import described
from gac_app.server.api.following import RunStream, begin, pieces_of, refuse_failed, until_over, usage_of
from gac_app.server.api.reading import body_of
from gac_app.server.api.requests import ChatRequest
from gac_app.services.completions.completions import Asker, CompletionRun, Completions, Question


def chat_route(completions: Completions, access: Access) -> APIRouter:
    """The route. A streamed answer is a series of `ChatChunk`."""
    router = APIRouter()

    @router.post("/v1/chat/completions", response_model=ChatCompletion, **described(ChatRequest, ChatChunk))
    async def chat(
        request: Request,
        asker: Annotated[Asker, Depends(access)],
        asked: Annotated[ChatRequest, Depends(body_of(ChatRequest))],
    ) -> Response:
        following = await begin(completions, lambda: _question(completions, asked), asker)
        answer = _Answer(asked, following.run, completions.config_hash)
        if asked.stream:
            return RunStream(following, answer.chunks())
        await until_over(following, request)
        return Response(answer.whole().model_dump_json(exclude_unset=True), media_type="application/json")

    return router


def _question(completions: Completions, asked: ChatRequest) -> Question:
    system = completions.systems.find(asked.model)
    settings = completions.systems.settings_from(system, asked.changes())
    return Question(system=system, settings=settings, prompts=(asked.chat(),), num_choices=asked.num_choices)


class _Answer:
    """A run in the form of a chat's completion."""

    def __init__(self, asked: ChatRequest, run: CompletionRun, config_hash: str) -> None:
        self._asked, self._run = asked, run
        self._head = {
            "id": f"chatcmpl-{run.id}",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": f"fp_{config_hash}",
        }

    def whole(self) -> ChatCompletion:
        choices = []
        for key, stream in self._run.streams.items():
            end = stream.finished
            assert end is not None  # noqa: S101 (the run is over)
            tokens = [event for event in stream.events if isinstance(event, TokenEvent)]
            message = AnswerMessage(role="assistant", content=end.text, refusal=None)
            extra = self._extra(tokens, end)
            choices.append(ChatChoice(index=int(key), message=message, finish_reason=FINISH[end.reason], **extra))
        return ChatCompletion(object="chat.completion", choices=choices, usage=usage_of(self._run), **self._head)

    async def chunks(self) -> AsyncGenerator[ChatChunk | None]:
        for key in self._run.streams:
            yield self._chunk(key, Delta(role="assistant", content=""), None, {"logprobs": None})
        async for piece in pieces_of(self._run):
            if piece is None:
                yield None
                continue
            key, tokens, end = piece
            if (text := "".join(event.text for event in tokens)) or (tokens and self._tells_steps):
                delta = Delta(content=text)
                yield self._chunk(key, delta, None, self._extra(tokens))
            if end:
                refuse_failed(end)
                yield self._chunk(key, Delta(), FINISH[end.reason], self._extra([], end))
        if self._asked.wants_usage:
            yield ChatChunk(object="chat.completion.chunk", choices=[], usage=usage_of(self._run), **self._head)

    def _chunk(self, key: str, delta: Delta, reason: FinishName | None, extra: dict[str, Any]) -> ChatChunk:
        choice = ChatChunkChoice(index=int(key), delta=delta, finish_reason=reason, **extra)
        usage = {"usage": None} if self._asked.wants_usage else {}
        return ChatChunk(object="chat.completion.chunk", choices=[choice], **usage, **self._head)

    @property
    def _tells_steps(self) -> bool:
        return self._asked.num_top is not None or self._asked.gac is not None

    def _extra(self, tokens: list[TokenEvent], end: FinishedEvent | None = None) -> dict[str, Any]:
        """What a choice has beside its text."""
        extra: dict[str, Any] = {"logprobs": None}
        if (num_top := self._asked.num_top) is not None:
            content = [chat_logprob(event.step, num_top) for event in tokens if event.step.token]
            extra["logprobs"] = ChatLogprobs(content=content, refusal=None)
        if gac := self._asked.gac:
            extra["gac"] = gac_answer([event.step for event in tokens], end, has_steps=gac.steps)
        return extra
