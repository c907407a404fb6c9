"""A run for a program: some choices of one system, for chats or documents."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gac_app.config import MAX_PROMPT_CHARS
from gac_app.decoding.trace import Event, FinishedEvent, FinishReason
from gac_app.errors import ModelLoadError, RequestError, SessionStopped, too_long
from gac_app.models.message import Message
from gac_app.services.completions.systems import System
from gac_app.services.members import namespace_of
from gac_app.services.runs.live_run import Decodes, LiveRun, RunPlan
from gac_app.settings import Settings

if TYPE_CHECKING:  # they load torch, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.request import Encoded, Request
    from gac_app.decoding.scoring import TokenScore

NUM_AT_ONCE = 2  # choices of a run: each takes a sequence of every member, and a run of the page takes two


@dataclass(frozen=True, slots=True)
class Document:
    """A prompt that is no chat: text, or ids of the system's tokeniser."""

    content: str | tuple[int, ...]


Prompt = tuple[Message, ...] | Document


def check_length(prompt: Prompt, field: str = "prompt") -> None:
    """Raise RequestError for a prompt that is too long for anybody to tokenise it."""
    texts = [prompt] if isinstance(prompt, Document) else prompt
    if (num := sum(len(text.content) for text in texts)) > MAX_PROMPT_CHARS:
        raise RequestError(field, too_long(num, MAX_PROMPT_CHARS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    Attributes:
        num_choices: of each prompt.
        num_top: where the probability of each token of a document is asked for, the number of likely tokens told with
            it; None = it is not.
        is_answered: whether anything is to be written after the prompts.
    """

    system: System
    settings: Settings
    prompts: tuple[Prompt, ...]
    num_choices: int = 1
    num_top: int | None = None
    is_answered: bool = True

    def __post_init__(self) -> None:
        for prompt in self.prompts:
            check_length(prompt)


class CompletionRun(LiveRun):
    """A run whose streams are choices, named by their numbers. Those of one prompt stand together.

    Attributes:
        num_prompt_tokens: by stream, as the first member that takes part reads the prompt.
        texts: by stream, the text of a document.
        scores: by stream, of each token of its document, where they are asked for.
    """

    def __init__(self, question: Question, owner: str) -> None:
        self.question = question
        self.num_prompt_tokens: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        self.scores: dict[str, list[TokenScore]] = {}
        num, seed = question.num_choices, question.settings.seed
        keys = [str(number) for number in range(len(question.prompts) * num)]
        seeds = {key: (seed + int(key) % num) % 2**63 for key in keys}
        plan = RunPlan(prompt="", settings=question.settings, seeds=seeds)
        super().__init__(plan, owner=owner, keys=keys, member_names=())
        self.conversation_id = ""  # all of an asker's requests share what members have read
        self.num_at_once = NUM_AT_ONCE
        self.is_saved = False  # nothing of it is stored

    def alone_in(self, stream: str) -> str | None:
        return self.question.system.member

    def prompt_of(self, stream: str) -> Prompt:
        return self.question.prompts[int(stream) // self.question.num_choices]

    def feed(self, system_prompt: str) -> None:
        """The prompts are whole. A system prompt of the settings is added where a chat has none."""

    def request_of(self, stream: str, ensemble: Ensemble, known: Encoded) -> Request:
        prompt, settings, alone = self.prompt_of(stream), self.settings_of(stream), self.alone_in(stream)
        if isinstance(prompt, Document):
            request = ensemble.raw_request(prompt.content, settings, alone=alone, known=known)
            if self.question.num_top is not None:
                request.check_can_score()
        else:
            try:
                request = ensemble.request(prompt, settings, alone=alone, known=known)
            except ModelLoadError as error:  # a member's template refuses the roles
                raise RequestError("prompt", str(error)) from None
        self.num_prompt_tokens[stream], self.texts[stream] = len(request.ids[0]), request.text
        return request

    def open(self, stream: str, ensemble: Ensemble) -> Decodes:
        if self.question.num_top is None and self.question.is_answered:
            return super().open(stream, ensemble)
        request, go_on = self.requests[stream], super().open

        def score(stopped: threading.Event) -> None:
            if self.question.num_top is not None:
                self.scores[stream] = self._scored(stream, request, ensemble, stopped)

        return _Scoring(score, lambda: go_on(stream, ensemble) if self.question.is_answered else None)

    def _scored(self, stream: str, request: Request, ensemble: Ensemble, stopped: threading.Event) -> list[TokenScore]:
        prompt = self.prompt_of(stream)
        assert isinstance(prompt, Document)  # noqa: S101 (of a chat nothing is scored)
        if request.alone is not None:
            ids = request.ids[0]
        elif isinstance(prompt.content, str):
            ids = ensemble.tokenizer().encode(prompt.content)
        else:
            ids = list(prompt.content)
        namespace, num_top = namespace_of(self.owner, self.conversation_id), self.question.num_top or 0
        return ensemble.score_prompt(request, ids, self.share, num_top=num_top, namespace=namespace, stopped=stopped)


class _Scoring:
    """Scores a document, then decodes what follows.

    Args:
        score: raises SessionStopped soon after its argument is set.
        go_on: opens the session that decodes; gives None if nothing follows.
    """

    def __init__(self, score: Callable[[threading.Event], None], go_on: Callable[[], Decodes | None]) -> None:
        self._score, self._go_on = score, go_on
        self._stopped = threading.Event()
        self._session: Decodes | None = None

    def events(self) -> Iterator[Event]:
        try:
            self._score(self._stopped)
        except SessionStopped:
            yield _end(FinishReason.ABORT)
            return
        self._session = self._go_on()
        if self._session is None:
            yield _end(FinishReason.LENGTH)
            return
        if self._stopped.is_set():
            self._session.stop()
        yield from self._session.events()

    def stop(self) -> None:
        self._stopped.set()
        if self._session:
            self._session.stop()

    def shares_read(self) -> dict[str, float]:
        return {}


def _end(reason: FinishReason) -> FinishedEvent:
    return FinishedEvent(reason, text="", num_tokens=0, num_ensembled=0, ttft_s=0.0, seconds=0.0, members={})
