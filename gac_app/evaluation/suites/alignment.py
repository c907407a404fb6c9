"""The alignment suite: how well members of different vocabularies write and predict together, in many scripts and code.

Every system continues the prompts of each kind greedily, as raw documents, and predicts the held-out passages. Answers
are bytes, because decoded text can hide errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gac_app.config import Config
from gac_app.decoding.trace import FinishedEvent, FinishReason, TokenEvent
from gac_app.errors import GacError, RequestError
from gac_app.evaluation.running import System, members_alone, parse_system
from gac_app.evaluation.suites.report import AlignmentReport, Answer, KindResult, measure
from gac_app.evaluation.suites.texts import KINDS, Passage, held_out, prompts
from gac_app.settings import Settings

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.decoding.scoring import Score


_ENSEMBLES = ("every-step+paper", "every-step+prefix", "every-step+paper+posterior", "every-step+prefix+posterior")
_GREEDY: dict[str, Any] = {"temperature": 0.0, "repetition_penalty": 1.0, "stop": ()}


def answer(ensemble: Ensemble, prompt: str, settings: Settings, alone: str | None) -> Answer:
    """Continue `prompt` as a raw document. Raises GacError if a member fails."""
    content = bytearray()
    is_stopped = False
    for event in ensemble.generate(prompt, settings, alone=alone, raw=True):
        if isinstance(event, TokenEvent):
            content += event.step.token
        elif isinstance(event, FinishedEvent):
            if event.reason is FinishReason.ERROR:
                raise GacError(f"no answer to {prompt!r}: {event.detail}")
            is_stopped = event.reason is FinishReason.STOP
    return Answer(prompt, bytes(content), is_stopped)


def alignment_systems(config: Config) -> list[System]:
    """Each member alone, and both alignments with the given weights and with posterior weights."""
    return [*members_alone(config), *(parse_system(name, config) for name in _ENSEMBLES)]


def check_kinds(kinds: Sequence[str]) -> None:
    """Raise RequestError if a kind is unknown."""
    for kind in kinds:
        if kind not in KINDS:
            raise RequestError("only", f"{kind!r} is no kind of text; expected {', '.join(KINDS)}")


def run_alignment_suite(
    ensemble: Ensemble,
    systems: Sequence[System],
    *,
    kinds: Sequence[str] = KINDS,
    max_new_tokens: int = 48,
    num_in_flight: int = 4,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> AlignmentReport:
    """Let every system write and predict, and measure it.

    Args:
        kinds: kinds of text, from `texts.KINDS`.
        max_new_tokens: length of a continuation.
        num_in_flight: prompts at once; they share forward passes.
        on_progress: called with the number of prompts and passages done, and their total.

    Raises:
        RequestError: settings or kinds do not fit.
        GacError: a member fails.
    """
    check_kinds(kinds)
    pool = ThreadPoolExecutor(num_in_flight)
    try:
        jobs = {
            system.name: [_submit(pool, _Solver.of(ensemble, system, max_new_tokens), kind) for kind in kinds]
            for system in systems
        }
        futures = [future for of_system in jobs.values() for of_kind in of_system for future in of_kind.futures]
        for num_done, future in enumerate(as_completed(futures), start=1):
            future.result()  # a failure ends the suite at once
            on_progress(num_done, len(futures))
    finally:
        pool.shutdown(cancel_futures=True)
    results = {name: tuple(of_kind.result() for of_kind in of_system) for name, of_system in jobs.items()}
    return AlignmentReport(max_new_tokens, results)


@dataclass(frozen=True, slots=True)
class _ScoredAnswer:
    answer: Answer
    scores: dict[str, Score]  # under each member alone; empty for an empty answer


@dataclass(frozen=True, slots=True)
class _Solver:
    """One system at work on one text."""

    ensemble: Ensemble
    alone: str | None
    settings: Settings

    @classmethod
    def of(cls, ensemble: Ensemble, system: System, max_new_tokens: int) -> _Solver:
        settings = system.settings(ensemble.config, **_GREEDY, max_new_tokens=max_new_tokens)
        return cls(ensemble, system.alone, settings)

    def write(self, prompt: str) -> _ScoredAnswer:
        written = answer(self.ensemble, prompt, self.settings, self.alone)
        members = self.ensemble.members if written.text else ()
        return _ScoredAnswer(written, {name: self._score(prompt, written.text, alone=name) for name in members})

    def predict(self, passage: Passage) -> Score:
        return self._score(passage.prompt, passage.continuation, alone=self.alone)

    def _score(self, prompt: str, text: str, alone: str | None) -> Score:
        return self.ensemble.score(prompt, [text], self.settings, alone=alone, raw=True)[0]


@dataclass(frozen=True, slots=True)
class _Jobs:
    """One system's work on one kind of text."""

    kind: str
    answers: list[Future[_ScoredAnswer]]
    held_out: list[Future[Score]]

    @property
    def futures(self) -> list[Future[Any]]:
        return [*self.answers, *self.held_out]

    def result(self) -> KindResult:
        written = [future.result() for future in self.answers]
        members = dict.fromkeys(member for scored in written for member in scored.scores)
        under = {member: [w.scores[member] for w in written if member in w.scores] for member in members}
        return measure(self.kind, [w.answer for w in written], under, [future.result() for future in self.held_out])


def _submit(pool: Executor, solver: _Solver, kind: str) -> _Jobs:
    return _Jobs(
        kind,
        [pool.submit(solver.write, prompt) for prompt in prompts()[kind]],
        [pool.submit(solver.predict, passage) for passage in held_out().get(kind, ())],
    )
