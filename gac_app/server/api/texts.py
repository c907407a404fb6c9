"""`POST /v1/completions`: continuations of documents, and how probable their tokens are."""

# Annotations are not postponed: FastAPI reads the dependencies in them, which are local.

import codecs
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from gac_app.decoding.trace import FinishedEvent, TokenEvent
from gac_app.server.api.access import Access
from gac_app.server.api.answers import (
    FINISH,
    LEAST_LOGPROB,
    FinishName,
    TextChoice,
    TextCompletion,
    TextLogprobs,
    Usage,
    logprob_of,
    token_text,
)
from gac_app.server.api.description import described
from gac_app.server.api.following import begin
from gac_app.server.api.forms import Form, answered, usage_of
from gac_app.server.api.reading import body_of
from gac_app.server.api.requests import CompletionRequest
from gac_app.services.completions.completion_run import CompletionRun, Question
from gac_app.services.completions.completions import Asker, Completions

_Scored = tuple[bytes, float | None, dict[str, float] | None]  # a token, its log-probability, likely ones there


def text_route(completions: Completions, access: Access) -> APIRouter:
    """The route. A streamed answer is a series of `TextCompletion`."""
    router = APIRouter()

    def question(asked: CompletionRequest) -> Question:
        system = completions.systems.find(asked.model)
        return Question(
            system=system,
            settings=completions.systems.settings_from(system, asked.changes()),
            prompts=asked.documents(),
            num_choices=asked.num_choices,
            num_top=asked.logprobs if asked.echo else None,
            is_answered=asked.is_answered,
        )

    @router.post("/v1/completions", response_model=TextCompletion, **described(CompletionRequest, TextCompletion))
    async def complete(
        request: Request,
        asker: Annotated[Asker, Depends(access)],
        asked: Annotated[CompletionRequest, Depends(body_of(CompletionRequest))],
    ) -> Response:
        following = await begin(completions, lambda: question(asked), asker)
        return await answered(_Text(asked, following.run, completions.config_hash), following, request)

    return router


class _Text(Form[CompletionRequest]):
    """What follows a document, after the document itself where it is echoed."""

    prefix = "cmpl"

    def __init__(self, asked: CompletionRequest, run: CompletionRun, config_hash: str) -> None:
        super().__init__(asked, run, config_hash)
        self._begun: set[str] = set()
        self._offsets = {key: _Offsets() for key in run.streams}

    def whole(self) -> TextCompletion:
        choices = []
        for key, tokens, end in self.ends():
            text = self.run.texts[key] + end.text if self.asked.echo else end.text
            logprobs = self._logprobs(key, [*self._of_prompt(key), *map(self._of_step, tokens)])
            extra = self.extension(tokens, end)
            reason = FINISH[end.reason]
            choices.append(TextChoice(index=int(key), text=text, finish_reason=reason, logprobs=logprobs, **extra))
        return TextCompletion(object="text_completion", choices=choices, usage=usage_of(self.run), **self.head)

    def begin(self, key: str) -> Iterator[TextCompletion]:
        """Nothing: the document's scores are not known yet."""
        yield from ()

    def add(self, key: str, tokens: Sequence[TokenEvent]) -> Iterator[TextCompletion]:
        if self.asked.echo and key not in self._begun:
            self._begun.add(key)
            yield self._chunk(key, self.run.texts[key], logprobs=self._logprobs(key, self._of_prompt(key)))
        text, scored = "".join(event.text for event in tokens), list(map(self._of_step, tokens))
        if text or (tokens and (self.asked.logprobs is not None or self.asked.gac)):
            yield self._chunk(key, text, logprobs=self._logprobs(key, scored), **self.extension(tokens))

    def end(self, key: str, end: FinishedEvent) -> Iterator[TextCompletion]:
        yield self._chunk(key, "", FINISH[end.reason], logprobs=None, **self.extension([], end))

    def last(self, usage: Usage) -> TextCompletion:
        return TextCompletion(object="text_completion", choices=[], usage=usage, **self.head)

    def _chunk(self, key: str, text: str, reason: FinishName | None = None, **extra: Any) -> TextCompletion:
        choice = TextChoice(index=int(key), text=text, finish_reason=reason, **extra)
        return TextCompletion(object="text_completion", choices=[choice], **self.no_usage, **self.head)

    def _of_prompt(self, key: str) -> list[_Scored]:
        scored: list[_Scored] = []
        for score in self.run.scores.get(key, ()):
            top = [(token, max(log_prob, LEAST_LOGPROB)) for token, log_prob in score.top]
            log_prob = None if score.log_prob is None else max(score.log_prob, LEAST_LOGPROB)
            scored.append((score.token, log_prob, self._top(top, score.token, log_prob)))
        return scored

    def _of_step(self, event: TokenEvent) -> _Scored:
        step, log_prob = event.step, logprob_of(event.step.prob)
        top = [(one.token, logprob_of(one.prob)) for one in step.top[: self.asked.logprobs or 0]]
        return step.token, log_prob, self._top(top, step.token, log_prob)

    def _top(self, top: list[tuple[bytes, float]], token: bytes, log_prob: float | None) -> dict[str, float] | None:
        """The likely tokens, the chosen one among them."""
        if log_prob is None or not self.asked.logprobs:
            return None
        return {token_text(one): value for one, value in top} | {token_text(token): log_prob}

    def _logprobs(self, key: str, scored: Sequence[_Scored]) -> TextLogprobs | None:
        if self.asked.logprobs is None:
            return None
        return TextLogprobs(
            tokens=[token_text(token) for token, _, _ in scored],
            token_logprobs=[log_prob for _, log_prob, _ in scored],
            top_logprobs=[top for _, _, top in scored] if self.asked.logprobs else None,
            text_offset=[self._offsets[key].next(token) for token, _, _ in scored],
        )


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
