"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from gac_app.decoding.trace import FinishedEvent, TokenEvent
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
)
from gac_app.server.api.forms import Form
from gac_app.server.api.requests import ChatRequest


class Chat(Form[ChatRequest]):
    """A chat's next message."""

    path, prefix = "/v1/chat/completions", "chatcmpl"
    body, answer, chunk = ChatRequest, ChatCompletion, ChatChunk

    def choice(self, key: str, tokens: Sequence[TokenEvent], end: FinishedEvent) -> ChatChoice:
        return ChatChoice(
            index=int(key),
            message=AnswerMessage(role="assistant", content=end.text, refusal=None),
            finish_reason=FINISH[end.reason],
            logprobs=self._logprobs(tokens),
            **self.extension(tokens, end),
        )

    def begin(self, key: str) -> Iterator[ChatChunk]:
        yield self._chunk(key, Delta(role="assistant", content=""), logprobs=None)

    def add(self, key: str, tokens: Sequence[TokenEvent]) -> Iterator[ChatChunk]:
        text = "".join(event.text for event in tokens)
        if text or (tokens and (self.asked.num_top is not None or self.asked.gac)):
            yield self._chunk(key, Delta(content=text), logprobs=self._logprobs(tokens), **self.extension(tokens))

    def end(self, key: str, end: FinishedEvent) -> Iterator[ChatChunk]:
        yield self._chunk(key, Delta(), FINISH[end.reason], logprobs=None, **self.extension([], end))

    def _chunk(self, key: str, delta: Delta, reason: FinishName | None = None, **extra: Any) -> ChatChunk:
        choice = ChatChunkChoice(index=int(key), delta=delta, finish_reason=reason, **extra)
        return self.made(ChatChunk, [choice])

    def _logprobs(self, tokens: Sequence[TokenEvent]) -> ChatLogprobs | None:
        if (num_top := self.asked.num_top) is None:
            return None
        content = [chat_logprob(event.step, num_top) for event in tokens if event.step.token]
        return ChatLogprobs(content=content, refusal=None)
