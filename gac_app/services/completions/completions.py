"""Answers for programs, in the page's queue and under its fairness. Nothing of them is stored."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gac_app.errors import LimitError, ModelLoadError, RequestError
from gac_app.models.message import Message
from gac_app.services.completions.systems import System, Systems
from gac_app.services.runs.live_run import LiveRun, RunPlan
from gac_app.services.runs.runs import RunService
from gac_app.services.visitors import owner_of
from gac_app.settings import Settings

if TYPE_CHECKING:  # they load torch, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.request import Encoded, Request

NUM_AT_ONCE = 2  # choices of a run: each takes a sequence of every member, and a run of the page takes two


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks.

    Attributes:
        visitor_key: as a visitor's, so that all requests by one API key are one visitor's.
        client: the origin, from `client_of`.
        max_at_once: runs of this asker that wait or decode; None = as many as the queue takes.
    """

    visitor_key: str
    client: str
    max_at_once: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    Attributes:
        prompts: each a chat.
        num_choices: of each prompt.
    """

    system: System
    settings: Settings
    prompts: tuple[tuple[Message, ...], ...]
    num_choices: int = 1


class CompletionRun(LiveRun):
    """A run whose streams are choices, named by their numbers. Those of one prompt stand together.

    Attributes:
        num_prompt_tokens: by stream, as the first member that takes part reads the prompt.
    """

    def __init__(self, question: Question, owner: str) -> None:
        self.question = question
        self.num_prompt_tokens: dict[str, int] = {}
        num, seed = question.num_choices, question.settings.seed
        keys = [str(number) for number in range(len(question.prompts) * num)]
        seeds = {key: (seed + int(key) % num) % 2**63 for key in keys}
        plan = RunPlan(prompt="", settings=question.settings, seeds=seeds)
        super().__init__(plan, owner=owner, keys=keys, member_names=())
        self.conversation_id = ""  # all of an asker's requests share what members have read
        self.num_at_once = NUM_AT_ONCE

    def alone_in(self, stream: str) -> str | None:
        return self.question.system.member

    def feed(self, system_prompt: str) -> None:
        """Give each stream its prompt. A system prompt of the settings is added where the chat has none."""
        for key, stream in self.streams.items():
            stream.messages = self.question.prompts[int(key) // self.question.num_choices]

    def request_of(self, stream: str, ensemble: Ensemble, known: Encoded) -> Request:
        try:
            request = super().request_of(stream, ensemble, known)
        except ModelLoadError as error:
            raise RequestError("prompt", str(error)) from None
        self.num_prompt_tokens[stream] = len(request.ids[0])
        return request


class Completions:
    """Starts and ends runs for programs.

    Args:
        runs: its members and its queue are used.
    """

    def __init__(self, runs: RunService) -> None:
        self.systems = Systems(runs.config)
        self.config_hash = runs.config_hash
        self._runs = runs
        self._under_way: set[CompletionRun] = set()
        self._lock = threading.Lock()
        runs.companions.append(self)

    def context_length(self, system: System) -> int | None:
        """The tokens that fit all members that may take part; None while they load."""
        members = self._runs.members
        if not members.are_ready:
            return None
        names = [system.member] if system.member else self._runs.config.taking_part(system.settings)
        return min(members.ensemble().members[name].context_length for name in names)

    def start(self, question: Question, asker: Asker) -> CompletionRun:
        """Queue a run. It takes as long as the members need to tokenise the prompts.

        Raises:
            RequestError: a prompt does not fit.
            LimitError: the asker has too many runs.
            BusyError: the queue is full.
            GacError: while the models are not ready.
        """
        owner = owner_of(asker.visitor_key)
        self._runs.members.ensemble()
        run = CompletionRun(question, owner)
        run.client = asker.client

        with self._lock:
            num = sum(one.owner == owner for one in self._under_way)
            if asker.max_at_once is not None and num >= asker.max_at_once:
                raise LimitError(f"{num} requests of yours are under way; wait until one of them has ended")
            self._under_way.add(run)
        try:
            self._runs.carry_out(run, on_taken=lambda: None, on_ended=lambda: self._ended(run))
        except BaseException:
            self._ended(run)
            raise
        return run

    def following(self, run: CompletionRun) -> AbstractContextManager[None]:
        """Somebody waits for the run until the block ends; then the run ends within a step."""
        return self._runs.following(run)

    def _ended(self, run: CompletionRun) -> None:
        with self._lock:
            self._under_way.discard(run)

    def forget(self, visitor_key: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Stop all runs."""
        with self._lock:
            runs = list(self._under_way)
        for run in runs:
            self._runs.halt(run)
