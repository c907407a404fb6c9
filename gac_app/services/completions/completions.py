"""Answers for programs, in the page's queue and under its fairness. Nothing of them is stored."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gac_app.errors import LimitError
from gac_app.services.completions.completion_run import CompletionRun, Question
from gac_app.services.completions.systems import System, Systems
from gac_app.services.runs.runs import RunService
from gac_app.services.visitors import owner_of

if TYPE_CHECKING:  # it loads torch, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble


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


class Completions:
    """Starts and ends runs for programs.

    Args:
        runs: its members and its queue are used.
    """

    def __init__(self, runs: RunService) -> None:
        self.systems = Systems(runs.config)
        self.config_hash = runs.config_hash
        self._runs = runs
        self._live: dict[str, CompletionRun] = {}  # by id, until they end
        self._lock = threading.Lock()
        runs.companions.append(self)

    def ensemble(self) -> Ensemble:
        """The members. Raises GacError while they are not ready."""
        return self._runs.members.ensemble()

    def context_length(self, system: System) -> int | None:
        """The tokens that fit all members that may take part; None while they load."""
        members = self._runs.members
        if not members.are_ready:
            return None
        names = [system.member] if system.member else self._runs.config.taking_part(system.settings)
        return min(members.ensemble().members[name].model.context_length for name in names)

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

        def drop() -> None:
            self._live.pop(run.id, None)

        with self._lock:
            num = [one.owner for one in [*self._live.values()]].count(owner)
            if asker.max_at_once is not None and num >= asker.max_at_once:
                raise LimitError(f"{num} requests of yours are under way; wait until one of them has ended")
            self._live[run.id] = run
        try:
            self._runs.carry_out(run, on_taken=lambda: None, on_ended=drop)
        except BaseException:
            drop()
            raise
        return run

    def following(self, run: CompletionRun) -> AbstractContextManager[None]:
        """Somebody waits for the run until the block ends; then the run ends within a step."""
        return self._runs.following(run)

    def forget(self, visitor_key: str) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Stop all runs. One whose prompts are still tokenised may never end; nothing of them is stored."""
        self._runs.halt(*self._live.values(), timeout_s=0)
