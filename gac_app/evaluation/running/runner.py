"""Runs systems over questions, several at once. Answers are stored as they come and returned in the questions'
order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gac_app.evaluation.running.answering import answer
from gac_app.evaluation.running.result_cache import Answer, ResultCache
from gac_app.evaluation.running.systems import System
from gac_app.evaluation.tasks import Question, Task

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble

_NAMESPACE = "evaluation"


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """A run's progress. `num_kept` of the `num_done` are from earlier runs. `unit`: what is counted."""

    num_done: int
    num_total: int
    num_kept: int
    seconds: float
    num_failed: int = 0
    unit: str = "answers"

    @property
    def seconds_left(self) -> float | None:
        """Estimated; None until it can be."""
        num_new = self.num_done - self.num_kept
        return self.seconds / num_new * (self.num_total - self.num_done) if num_new else None


def evaluate(
    ensemble: Ensemble,
    task: Task,
    questions: Sequence[Question],
    caches: dict[System, ResultCache],
    *,
    num_parallel: int = 4,
    on_progress: Callable[[StudyProgress], None] = lambda _: None,
    is_over: Callable[[], bool] = lambda: False,
) -> dict[System, list[Answer]]:
    """Every system's answers to `questions`, in their order.

    Args:
        caches: of each system and its candidates. Cached questions are not asked again; new answers are added.
        num_parallel: answers at once. They share forward passes, so a pass counts towards several answers' seconds, and
            all share the prefill of a question and of the worked examples before it. With 1, each answer has its own
            passes.
        on_progress: called in this thread after each answer.
        is_over: whether no more time is left; asked in several threads.

    Raises:
        OutOfTimeError: soon after `is_over` is true.
    """
    kept = sum(question.id in cache.answers for cache in caches.values() for question in questions)
    failed: dict[tuple[System, str], Answer] = {}
    total, started = len(questions) * len(caches), time.monotonic()
    on_progress(StudyProgress(kept, total, kept, 0.0))

    def found(system: System, question: Question) -> Answer:
        return caches[system].answers.get(question.id) or failed[system, question.id]

    def given_by(system: System, question: Question) -> Answer:
        candidates = [found(one, question) for one in system.candidates]
        namespace = f"{_NAMESPACE}/{task.name}" if num_parallel > 1 else ""
        return answer(ensemble, task, question, system, candidates, namespace=namespace, is_over=is_over)

    num_new = 0
    pool = ThreadPoolExecutor(num_parallel, thread_name_prefix="evaluate")
    try:
        for systems in _waves(caches):
            under_way: dict[Future[Answer], System] = {
                pool.submit(given_by, system, question): system
                for question in questions
                for system in systems
                if question.id not in caches[system].answers
            }
            for future in as_completed(under_way):
                system, given = under_way[future], future.result()
                if given.error:
                    failed[system, given.question_id] = given
                caches[system].add(given)
                num_new += 1
                on_progress(StudyProgress(kept + num_new, total, kept, time.monotonic() - started, len(failed)))
    finally:
        pool.shutdown(cancel_futures=True)
        ensemble.forget(_NAMESPACE)
    return {system: [found(system, question) for question in questions] for system in caches}


def _waves(systems: Iterable[System]) -> tuple[list[System], list[System]]:
    """The systems that decode, then those that choose among their answers."""
    decoding = [system for system in systems if not system.rule]
    return decoding, [system for system in systems if system.rule]
