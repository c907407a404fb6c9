"""`POST /v1/completions`: continuations of documents, and how probable their tokens are."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from gac_app.decoding.trace import TokenEvent
from gac_app.server.api.answers import LEAST_LOGPROB, TextCompletion, TextLogprobs, logprob_of, token_text
from gac_app.server.api.forms import Choices
from gac_app.server.api.requests import CompletionRequest
from gac_app.services.completions.completion_run import CompletionRun

_Scored = tuple[bytes, float | None, Sequence[tuple[bytes, float]]]  # a token, its log-probability, likely ones there


class Text(Choices[CompletionRequest]):
    """What follows a document, after the document itself where it is echoed. Its scores are not known at first, so no
    chunk begins it.
    """

    path, prefix = "/v1/completions", "cmpl"
    body, answer, chunk = CompletionRequest, TextCompletion, TextCompletion

    def __init__(self, asked: CompletionRequest, run: CompletionRun, config_hash: str) -> None:
        super().__init__(asked, run, config_hash)
        self._begun: set[str] = set()
        self._offsets = {key: _Offsets() for key in run.streams}

    def whole_text(self, key: str, text: str) -> dict[str, Any]:
        return {"text": self.run.texts[key] + text if self.asked.echo else text}

    def piece(self, text: str | None) -> dict[str, Any]:
        return {"text": text or ""}

    def add(self, key: str, tokens: Sequence[TokenEvent]) -> Iterator[BaseModel]:
        if self.asked.echo and key not in self._begun:
            yield self.added(self.choice(key, self.piece(self.run.texts[key]), logprobs=self.logprobs(key, ())))
        yield from super().add(key, tokens)

    def logprobs(self, key: str, tokens: Sequence[TokenEvent]) -> TextLogprobs | None:
        """Those of the prompt come first, once."""
        prompt = () if key in self._begun else self.run.scores.get(key, ())
        self._begun.add(key)
        if (num_top := self.asked.logprobs) is None:
            return None
        scored: list[_Scored] = [(score.token, score.log_prob, score.top) for score in prompt]
        for step in (event.step for event in tokens):
            top = [(one.token, logprob_of(one.prob)) for one in step.top[:num_top]]
            scored.append((step.token, logprob_of(step.prob), top))
        return TextLogprobs(
            tokens=[token_text(token) for token, _, _ in scored],
            token_logprobs=[None if log_prob is None else max(log_prob, LEAST_LOGPROB) for _, log_prob, _ in scored],
            top_logprobs=[_top(*one) for one in scored] if num_top else None,
            text_offset=[self._offsets[key].next(token) for token, _, _ in scored],
        )


def _top(token: bytes, log_prob: float | None, top: Sequence[tuple[bytes, float]]) -> dict[str, float] | None:
    """The likely tokens, the chosen one among them."""
    if log_prob is None:
        return None
    return {token_text(one): max(value, LEAST_LOGPROB) for one, value in (*top, (token, log_prob))}


class _Offsets:
    """Where tokens begin in a text, in characters. One that begins within a character begins with it."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._num_chars = 0

    def next(self, token: bytes) -> int:
        """Of the next token."""
        begins = self._num_chars
        self._num_chars += len(self._decoder.decode(token))
        return begins
