"""Puts questions to systems, for studies. Cached answers are not asked for again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from copy import copy
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.running import Graded, ResultCache, StudyProgress, System, answer, result_cache_path
from gac_app.evaluation.studies.result import AskedQuestion, GivenAnswer
from gac_app.evaluation.tasks import Question, Task

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


_NAMESPACE = "evaluation"  # of the prefix cache


class Evaluator:
    """Puts questions of one file to systems.

    Args:
        ensemble: closed by the caller.
        questions: all questions of the file, even if only some are asked: they name the caches.
        folder: of the result caches; None keeps no answer on disk.
        parallel: answers at once. They share forward passes, so a pass counts towards several answers' seconds, and the
            prefill of a question and of the worked examples before it. With 1, each answer has its own passes.
        fresh: ignore answers of earlier runs.

    Attributes:
        on_progress: called with the progress of a call; an exception from it ends the call.
        is_over: whether no more time is left, asked in several threads; then a call raises OutOfTimeError.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        task: Task,
        questions: Sequence[Question],
        folder: Path | None,
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
        self._given: dict[str, dict[str, GivenAnswer]] = {}  # by question, by system
        self._label = ""

    @property
    def asked(self) -> list[AskedQuestion]:
        """Every question asked so far, with all answers."""
        return [
            AskedQuestion(question.id, question.as_prompt, question.accepted, [*self._given[question.id].values()])
            for question in self.questions
            if question.id in self._given
        ]

    def __call__(self, systems: Sequence[System], asked: Sequence[Question]) -> dict[System, list[Graded]]:
        """Every system's answers to `asked`, which are some of the questions, in their order."""
        candidates = [candidate for system in systems for candidate in system.candidates]
        found = self._answers({system: self._cache(system) for system in [*systems, *candidates]}, asked)
        for system in systems:
            self.note(system, found[system])
        return {system: found[system] for system in systems}

    def _answers(self, caches: dict[System, ResultCache], asked: Sequence[Question]) -> dict[System, list[Graded]]:
        """Those in the caches, and new ones, several at once, each stored before another's fault can end the call."""
        num_kept = sum(question.id in cache.answers for cache in caches.values() for question in asked)
        total, num_new, started = len(asked) * len(caches), 0, time.monotonic()
        storing = Lock()
        failed: dict[tuple[System, str], Graded] = {}
        namespace = f"{_NAMESPACE}/{self.task.name}" if self._parallel > 1 else ""
        self.on_progress(StudyProgress(num_kept, total, num_kept, 0.0))

        def found(system: System, question: Question) -> Graded:
            return caches[system].answers.get(question.id) or failed[system, question.id]

        def given_by(system: System, question: Question) -> Graded:
            candidates = [found(one, question) for one in system.candidates]
            given = answer(
                self.ensemble, self.task, question, system, candidates, namespace=namespace, is_over=self.is_over
            )
            with storing:
                caches[system].add(given)
            return given

        pool = ThreadPoolExecutor(self._parallel, thread_name_prefix="evaluate")
        try:
            for is_choosing in (False, True):  # among the answers of those that decode
                under_way = {
                    pool.submit(given_by, system, question): system
                    for question in asked
                    for system, cache in caches.items()
                    if bool(system.rule) == is_choosing and question.id not in cache.answers
                }
                for future in as_completed(under_way):
                    system, given = under_way[future], future.result()
                    if given.error:
                        failed[system, given.question_id] = given
                    num_new += 1
                    spent_s = time.monotonic() - started
                    self.on_progress(StudyProgress(num_kept + num_new, total, num_kept, spent_s, len(failed)))
        finally:
            pool.shutdown(cancel_futures=True)
            self.ensemble.forget(_NAMESPACE)
        return {system: [found(system, question) for question in asked] for system in caches}

    def note(self, system: System, answers: Sequence[Graded]) -> None:
        """Keep answers for `asked`, instead of what was kept before, which may have been judged otherwise."""
        name = system.name + self._label
        for one in answers:
            noted = GivenAnswer(name, one.prediction, one.is_right, one.text, one.error)
            self._given.setdefault(one.question_id, {})[name] = noted

    def by(self, task: Task, label: str) -> Evaluator:
        """An evaluator of the same questions with another protocol. `label` marks its answers."""
        other = copy(self)
        other.task, other._label, other._caches = task, label, {}
        return other

    def _cache(self, system: System) -> ResultCache:
        if system not in self._caches:
            ensemble, folder = self.ensemble, self._folder
            path = folder and result_cache_path(
                folder, ensemble.config, ensemble.engines, self.task, system, self.questions, self._parallel
            )
            if path and self._fresh:
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
