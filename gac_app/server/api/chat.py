"""`POST /v1/chat/completions`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from gac_app.decoding.trace import TokenEvent
from gac_app.server.api.answers import ChatChunk, ChatCompletion, ChatLogprobs, chat_logprob
from gac_app.server.api.forms import Choices
from gac_app.server.api.requests import ChatRequest


class Chat(Choices[ChatRequest]):
    """A chat's next message."""

    path, prefix = "/v1/chat/completions", "chatcmpl"
    body, answer, chunk = ChatRequest, ChatCompletion, ChatChunk

    def whole_text(self, key: str, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    def piece(self, text: str | None) -> dict[str, Any]:
        return {"delta": {} if text is None else {"content": text}}

    def begin(self, key: str) -> Iterator[BaseModel]:
        yield self.added(self.choice(key, {"delta": {"role": "assistant", "content": ""}}))

    def logprobs(self, key: str, tokens: Sequence[TokenEvent]) -> ChatLogprobs | None:
        if (num_top := self.asked.num_top) is None:
            return None
        content = [chat_logprob(event.step, num_top) for event in tokens if event.step.token]
        return ChatLogprobs(content=content, refusal=None)
