"""Lets one system answer one question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gac_app.decoding.trace import FinishedEvent, FinishReason
from gac_app.errors import GacError, MemberError, RequestError, VocabularyError
from gac_app.evaluation.running.output_level import choose
from gac_app.evaluation.running.result_cache import Answer
from gac_app.evaluation.running.systems import System
from gac_app.evaluation.tasks import Question, Task, extracted, is_right

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


class OutOfTimeError(GacError):
    """The time for answers is over."""


def answer(
    ensemble: Ensemble,
    task: Task,
    question: Question,
    system: System,
    candidates: Sequence[Answer] = (),
    *,
    namespace: str = "",
    is_over: Callable[[], bool] = lambda: False,
) -> Answer:
    """The system's answer, judged. If a member fails, or prompt or choices do not fit, `error` says so. Decoding is
    greedy unless the system samples. Members are never dropped midway, because that would be another system.

    Args:
        candidates: the answers of the system's candidates, if it has any.
        namespace: the question's in the prefix cache; all systems share it.
        is_over: is asked before each token.

    Raises:
        OutOfTimeError: the time is over.
    """
    settings = system.settings(
        ensemble.config,
        temperature=system.changes.get("temperature", 0.0),
        stop=task.stop,
        max_new_tokens=task.max_new_tokens,
        on_member_failure="stop",
    )
    if is_over():
        raise OutOfTimeError
    how: dict[str, Any] = {"settings": settings, "alone": system.alone, "raw": task.is_raw, "namespace": namespace}
    try:
        if system.rule:
            return choose(ensemble, task, question, system.rule, candidates)
        if task.kind == "choice":
            return _chosen(ensemble, task, question, how)
        return _written(ensemble, task, question, how, is_over)
    except (MemberError, RequestError, VocabularyError) as error:
        return Answer(question.id, error=str(error))


def _written(
    ensemble: Ensemble, task: Task, question: Question, how: dict[str, Any], is_over: Callable[[], bool]
) -> Answer:
    with closing(ensemble.generate(task.prompt(question), **how)) as events:
        for event in events:
            if isinstance(event, FinishedEvent):
                finished = event
            elif is_over():
                raise OutOfTimeError
    prediction = extracted(finished.text, task.extract)
    given = Answer(
        question.id,
        is_right=is_right(prediction, question.answers, task.match),
        prediction=prediction,
        text=finished.text,
        num_tokens=finished.num_tokens,
        num_ensembled=finished.num_ensembled,
        seconds=finished.seconds,
        ttft_s=finished.ttft_s,
        member_seconds=sum(usage.seconds for usage in finished.members.values()),
    )
    if finished.reason in (FinishReason.STOP, FinishReason.LENGTH):
        return given
    return replace(given, is_right=False, error=finished.detail or "was stopped")


def _chosen(ensemble: Ensemble, task: Task, question: Question, how: dict[str, Any]) -> Answer:
    scores = ensemble.score(task.prompt(question), task.continuations(question), **how)
    index = min(range(len(scores)), key=lambda i: scores[i].bits_per_byte)
    return Answer(
        question.id,
        is_right=index == question.answer,
        prediction=question.choices[index],
        log_probs=tuple(score.log_prob for score in scores),
        num_tokens=sum(score.num_steps for score in scores),
        num_ensembled=sum(score.num_ensembled for score in scores),
        seconds=sum(score.seconds for score in scores),
    )
