"""`POST /v1/chat/completions`."""

# Annotations are not postponed: FastAPI reads the dependencies in them, which are local.

from collections.abc import Iterator, Sequence
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
    Usage,
    chat_logprob,
)
from gac_app.server.api.description import described
from gac_app.server.api.following import begin
from gac_app.server.api.forms import Form, answered, usage_of
from gac_app.server.api.reading import body_of
from gac_app.server.api.requests import ChatRequest
from gac_app.services.completions.completion_run import Question
from gac_app.services.completions.completions import Asker, Completions


def chat_route(completions: Completions, access: Access) -> APIRouter:
    """The route. A streamed answer is a series of `ChatChunk`."""
    router = APIRouter()

    @router.post("/v1/chat/completions", response_model=ChatCompletion, **described(ChatRequest, ChatChunk))
    async def chat(
        request: Request,
        asker: Annotated[Asker, Depends(access)],
        asked: Annotated[ChatRequest, Depends(body_of(ChatRequest))],
    ) -> Response:
        following = await begin(completions, lambda: question_of(completions, asked), asker)
        return await answered(_Chat(asked, following.run, completions.config_hash), following, request)

    return router


def question_of(completions: Completions, asked: ChatRequest) -> Question:
    """What a chat asks. Raises NotFoundError, RequestError."""
    system = completions.systems.find(asked.model)
    settings = completions.systems.settings_from(system, asked.changes())
    return Question(system=system, settings=settings, prompts=(asked.chat(),), num_choices=asked.num_choices)


class _Chat(Form[ChatRequest]):
    """A chat's next message."""

    prefix = "chatcmpl"

    def whole(self) -> ChatCompletion:
        choices = [
            ChatChoice(
                index=int(key),
                message=AnswerMessage(role="assistant", content=end.text, refusal=None),
                finish_reason=FINISH[end.reason],
                logprobs=self._logprobs(tokens),
                **self.extension(tokens, end),
            )
            for key, tokens, end in self.ends()
        ]
        return ChatCompletion(object="chat.completion", choices=choices, usage=usage_of(self.run), **self.head)

    def begin(self, key: str) -> Iterator[ChatChunk]:
        yield self._chunk(key, Delta(role="assistant", content=""), logprobs=None)

    def add(self, key: str, tokens: Sequence[TokenEvent]) -> Iterator[ChatChunk]:
        text = "".join(event.text for event in tokens)
        if text or (tokens and (self.asked.num_top is not None or self.asked.gac)):
            yield self._chunk(key, Delta(content=text), logprobs=self._logprobs(tokens), **self.extension(tokens))

    def end(self, key: str, end: FinishedEvent) -> Iterator[ChatChunk]:
        yield self._chunk(key, Delta(), FINISH[end.reason], logprobs=None, **self.extension([], end))

    def last(self, usage: Usage) -> ChatChunk:
        return ChatChunk(object="chat.completion.chunk", choices=[], usage=usage, **self.head)

    def _chunk(self, key: str, delta: Delta, reason: FinishName | None = None, **extra: Any) -> ChatChunk:
        choice = ChatChunkChoice(index=int(key), delta=delta, finish_reason=reason, **extra)
        return ChatChunk(object="chat.completion.chunk", choices=[choice], **self.no_usage, **self.head)

    def _logprobs(self, tokens: Sequence[TokenEvent]) -> ChatLogprobs | None:
        if (num_top := self.asked.num_top) is None:
            return None
        content = [chat_logprob(event.step, num_top) for event in tokens if event.step.token]
        return ChatLogprobs(content=content, refusal=None)
