"""`Gac`: an ensemble in a program."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import closing
from itertools import takewhile
from pathlib import Path
from typing import Any

from gac_app.config import Config
from gac_app.decoding.ensemble import Ensemble
from gac_app.decoding.request import Request
from gac_app.decoding.scoring import Score
from gac_app.decoding.trace import FinishedEvent, StepTrace, TokenEvent
from gac_app.environment import with_plugins
from gac_app.errors import RequestError
from gac_app.library.answer import Answer
from gac_app.library.closing import Owner
from gac_app.library.in_threads import each_in_a_thread, in_a_thread
from gac_app.library.prompts import Prompt, check_listed, messages_of
from gac_app.library.room import Room
from gac_app.library.sources import Source, described
from gac_app.library.step import Decoding
from gac_app.loading import load_ensemble
from gac_app.models.sequence import LOCAL
from gac_app.settings import Settings
from gac_app.vocab.union import UnionVocabulary

_SEQUENCES_OF_AN_ANSWER = 2  # its own, and one for its prompt's perplexity or for what is scored


def load(
    source: Source = None,
    *,
    plugins: Sequence[str | Path] = (),
    cache_dir: str | Path | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Gac:
    """Load an ensemble. Files that are missing are fetched.

    Args:
        source: a configuration's file, or its values as a `Config` or a dictionary; or a list of members, each a source
            (`hub:organisation/name`, a folder, a GGUF file), the name of a member of the default configuration, a
            dictionary, or a pair (model, tokenizer) of transformers. None = GAC_CONFIG's file or the default one.
        plugins: files and modules that register rules and back ends.
        cache_dir: of fetched models and derived files.
        chat_template_kwargs: what every member's chat template gets, such as `enable_thinking`.
        settings: fields of `Settings`, for all calls that do not change them.

    Example:
        >>> gac = load(["hub:org/one", (model, tokenizer)], mode="every-step", max_new_tokens=64)

    Raises:
        ConfigError, RequestError: the configuration or a setting is wrong.
        ModelLoadError, VocabularyError: a member cannot be loaded.
    """
    config, in_hand = described(source, plugins=[str(plugin) for plugin in plugins], cache_dir=cache_dir)
    if chat_template_kwargs:
        changes = {"chat_template_kwargs": dict(chat_template_kwargs)}
        members = tuple(member.model_copy(update=changes) for member in config.members)
        config = config.model_copy(update={"members": members})
    config = with_plugins(config)
    if settings:
        config = config.model_copy(update={"settings": config.settings_from(settings)})
    return Gac(load_ensemble(config, in_hand=in_hand))


class Gac(Owner):
    """Members that share one union vocabulary, made by `gac_app.load`. Its methods may be called from any thread.

    Where more is asked than the members have room for, calls wait for their turn. Whatever fails raises a GacError.
    Every method takes the fields of `Settings` as keyword arguments too.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self.own(ensemble)
        models = [member.model for member in ensemble.members.values()]
        num_sequences = min(model.max_sequences // models.count(model) for model in models)  # views share them
        self._room = Room(max(1, num_sequences // _SEQUENCES_OF_AN_ANSWER))

    def __repr__(self) -> str:
        return f"Gac({list(self.member_names)})"

    def close(self) -> None:
        """Release the models. One that the program has loaded stays loaded. A `Gac` that nobody has any more is closed
        by itself.
        """
        self._release()

    @property
    def config(self) -> Config:
        """The configuration, with the settings that hold where a call gives none."""
        return self.ensemble.config

    @property
    def member_names(self) -> tuple[str, ...]:
        return self.config.member_names

    @property
    def union(self) -> UnionVocabulary:
        """The union vocabulary: `tokens`, `ids`, `end_id`."""
        return self.ensemble.union

    def answer(self, prompt: Prompt, **how: Any) -> Answer:
        """The answer to a text, or to a chat as transformers has it.

        Args:
            how: `settings`, as a whole or as a dictionary of those to change, or these as arguments; `alone`, the
                member that answers alone; `raw`: the prompt is fed without a chat template, as the start of a document.

        Raises:
            RequestError: prompt or settings do not fit.
            MemberError, RuleError: a member or a rule failed.
        """
        return self._answer(threading.Event(), prompt, how)

    def answers(self, prompts: Sequence[Prompt], *, parallel: int | None = None, **how: Any) -> list[Answer]:
        """The answers to several prompts, in their order. The first failure ends all, and is raised.

        Args:
            parallel: answers at once, at most half the least `max_sequences` of the members; None = so many, which is
                fastest.
            how: see `answer`.
        """
        return self._answers(threading.Event(), prompts, parallel, how)

    def stream(self, prompt: Prompt, **how: Any) -> Generator[TokenEvent, None, Answer]:
        """The answer's tokens as they are decoded: `text` is what a token adds, `step` how it was chosen. Closing the
        generator ends the answer. The generator's value is the `Answer`. See `answer`.
        """
        return self._streamed(self._request(prompt, **how), threading.Event())

    def score(self, prompt: Prompt, continuations: Iterable[str], **how: Any) -> list[Score]:
        """The log-probability of each of `continuations` after the prompt. An empty raw prompt is the beginning of a
        document. See `answer`, and docs/python.md for what the numbers mean.
        """
        check_listed("continuations", continuations)
        settings, asked = self._settings_of(**how)
        with self._room.place():
            return self.ensemble.score(messages_of(prompt), continuations, settings, **asked)

    def decode(self, prompt: Prompt, **how: Any) -> Decoding:
        """An answer step by step, to be closed: each member's distribution, the mixture, and a token of your choice.
        See `answer`.
        """
        request = self._request(prompt, **how)
        self._room.hold()
        try:
            return Decoding(self.ensemble.open(request, LOCAL), self, self._room.give_back)
        except BaseException:
            self._room.give_back()
            raise

    # --- the same for asyncio

    async def answer_async(self, prompt: Prompt, **how: Any) -> Answer:
        """As `answer`. Cancelling it ends the answer within a step."""
        return await in_a_thread(lambda stopped: self._answer(stopped, prompt, how))

    async def answers_async(
        self, prompts: Sequence[Prompt], *, parallel: int | None = None, **how: Any
    ) -> list[Answer]:
        """As `answers`."""
        return await in_a_thread(lambda stopped: self._answers(stopped, prompts, parallel, how))

    async def stream_async(self, prompt: Prompt, **how: Any) -> AsyncIterator[TokenEvent]:
        """As `stream`, without its value."""
        async for event in each_in_a_thread(lambda stopped: self._streamed(self._request(prompt, **how), stopped)):
            yield event

    async def score_async(self, prompt: Prompt, continuations: Sequence[str], **how: Any) -> list[Score]:
        """As `score`. Cancelling it ends it before the next of `continuations`."""
        check_listed("continuations", continuations)
        return await in_a_thread(
            lambda stopped: self.score(prompt, takewhile(lambda _: not stopped.is_set(), continuations), **how)
        )

    # --- how

    def _settings_of(
        self,
        settings: Settings | Mapping[str, Any] | None = None,
        *,
        alone: str | None = None,
        raw: bool = False,
        **changes: Any,
    ) -> tuple[Settings, dict[str, Any]]:
        """The settings, checked, and the other arguments of the engine."""
        self.check_usable()
        given = {**(settings.model_dump() if isinstance(settings, Settings) else settings or {}), **changes}
        if not given.get("gate", ""):
            given.pop("gate", None)  # the configuration's
        return self.config.settings_from(given), {"alone": alone, "raw": raw}

    def _request(self, prompt: Prompt, **how: Any) -> Request:
        settings, asked = self._settings_of(**how)
        return self.ensemble.request(messages_of(prompt), settings, **asked)

    def _answer(self, stopped: threading.Event, prompt: Prompt, how: Mapping[str, Any]) -> Answer:
        """The answer; what there is of it, soon after `stopped` is set. Raises CancelledError if it was set before."""
        if stopped.is_set():
            raise CancelledError
        with closing(self._streamed(self._request(prompt, **how), stopped)) as stream:
            while True:
                try:
                    next(stream)
                except StopIteration as end:
                    answer: Answer = end.value
                    return answer

    def _answers(
        self, stopped: threading.Event, prompts: Sequence[Prompt], parallel: int | None, how: Mapping[str, Any]
    ) -> list[Answer]:
        check_listed("prompts", prompts)
        most = self._room.size if parallel is None else min(parallel, self._room.size)
        if most < 1:
            raise RequestError("parallel", f"expected at least 1; got {parallel}")
        self._room.check()
        with ThreadPoolExecutor(most, thread_name_prefix="answers") as pool:
            asked = [pool.submit(self._answer, stopped, prompt, how) for prompt in prompts]
            try:
                for answered in as_completed(asked):
                    answered.result()
            finally:
                stopped.set()
            return [answered.result() for answered in asked]

    def _streamed(self, request: Request, stopped: threading.Event) -> Generator[TokenEvent, None, Answer]:
        steps: list[StepTrace] = []
        with self._room.place() as use_place:
            session = self.ensemble.open(request, LOCAL, stopped=stopped)
            with closing(session.events()) as events:
                for event in events:
                    if isinstance(event, TokenEvent):
                        steps.append(event.step)
                        yield event
                        use_place()
                    else:
                        end: FinishedEvent = event
        if session.failure:
            raise session.failure
        return Answer.of(end, tuple(steps))
