"""Puts questions to systems, for studies. Cached answers are not asked for again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.running import Answer, ResultCache, StudyProgress, System, evaluate, result_cache_path
from gac_app.evaluation.studies.result import AskedQuestion, GivenAnswer
from gac_app.evaluation.tasks import Question, Task

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


class Evaluator:
    """Puts questions of one file to systems.

    Args:
        ensemble: closed by the caller.
        questions: all questions of the file, even if only some are asked: they name the caches.
        folder: of the result caches.
        parallel: answers at once.
        fresh: ignore answers of earlier runs.

    Attributes:
        on_progress: called with the progress of a call; an exception from it ends the call.
        is_over: whether no more time is left; then a call raises OutOfTimeError.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        task: Task,
        questions: Sequence[Question],
        folder: Path,
        *,
        parallel: int = 1,
        fresh: bool = False,
    ) -> None:
        self.ensemble = ensemble
        self.task = task
        self.questions = questions
        self._folder = folder
        self._parallel = parallel
        self._fresh = fresh
        self.on_progress: Callable[[StudyProgress], None] = lambda _: None
        self.is_over: Callable[[], bool] = lambda: False
        self._caches: dict[System, ResultCache] = {}
        self._given: dict[str, list[GivenAnswer]] = {}  # by question
        self._label = ""

    @property
    def asked(self) -> list[AskedQuestion]:
        """Every question asked so far, with all answers."""
        return [
            AskedQuestion(question.id, question.as_prompt, question.accepted, self._given[question.id])
            for question in self.questions
            if question.id in self._given
        ]

    def __call__(self, systems: Sequence[System], asked: Sequence[Question]) -> dict[System, list[Answer]]:
        """Every system's answers to `asked`, which are some of the questions, in their order."""
        candidates = [candidate for system in systems for candidate in system.candidates]
        caches = {system: self._cache(system) for system in [*systems, *candidates]}
        found = evaluate(
            self.ensemble,
            self.task,
            asked,
            caches,
            num_parallel=self._parallel,
            on_progress=self.on_progress,
            is_over=self.is_over,
        )
        for system in systems:
            for answer in found[system]:
                self._note(system, answer)
        return {system: found[system] for system in systems}

    def _note(self, system: System, answer: Answer) -> None:
        name = system.name + self._label
        given = self._given.setdefault(answer.question_id, [])
        if all(other.system != name for other in given):
            given.append(GivenAnswer(name, answer.prediction, answer.is_right, answer.text, answer.error))

    def by(self, task: Task, label: str) -> Evaluator:
        """An evaluator of the same questions with another protocol. `label` marks its answers."""
        other = copy(self)
        other.task, other._label, other._caches = task, label, {}
        return other

    def _cache(self, system: System) -> ResultCache:
        if system not in self._caches:
            path = result_cache_path(
                self._folder, self.ensemble.config, self.ensemble.engines, self.task, system, self.questions
            )
            if self._fresh:
                path.unlink(missing_ok=True)
            self._caches[system] = ResultCache(path)
        return self._caches[system]


def check_room(config: Config, parallel: int) -> None:
    """Raise RequestError if so many answers at once do not fit: each holds up to two sequences in each member."""
    for member in config.members:
        if member.max_sequences < 2 * parallel:
            raise RequestError(
                "parallel", f"{parallel} answers at once need max_sequences {2 * parallel} of {member.name}"
            )
