"""Lets one system answer one question: by decoding, or by a rule that picks one of the answers of the members alone.

`vote`                the most frequent answer; among equals the first, the gate's before the others', so that two
                      members without samples never outvote the gate
`mbr`                 minimum Bayes risk: the answer most similar to all others, by chrF (Popovic 2015)
`lowest-perplexity`   the answer with the fewest bits per byte, averaged over the members, each alone

The members answer at once, so a chosen answer costs the time of the longest and the passes of all, plus the time that
`mbr` and `lowest-perplexity` take to choose. Passes that score answers do not count as members' seconds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gac_app.decoding.trace import FinishedEvent, FinishReason
from gac_app.errors import GacError, MemberError, RequestError, VocabularyError
from gac_app.evaluation.running.result_cache import Graded
from gac_app.evaluation.running.systems import Rule, System
from gac_app.evaluation.tasks import Question, Task, extracted, is_right, normalised

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


def choose(ensemble: Ensemble, task: Task, question: Question, rule: Rule, candidates: Sequence[Graded]) -> Graded:
    """The rule's choice among the candidates, with the cost of all. If one failed, that failure.

    Raises:
        MemberError, RequestError: a scoring member fails.
    """
    for candidate in candidates:
        if candidate.error:
            return candidate
    started = time.monotonic()
    texts = [_text(task, question, candidate) for candidate in candidates]
    if rule == "vote":
        predictions = [candidate.prediction for candidate in candidates]
        index = most_frequent(
            predictions if task.kind == "choice" else [normalised(one, task.match) for one in predictions]
        )
    elif rule == "mbr":
        index = least_risk(texts)
    else:
        index = lowest_perplexity(ensemble, task.prompt(question), texts, raw=task.is_raw)
    return replace(
        candidates[index],
        log_probs=(),
        seconds=max(candidate.seconds for candidate in candidates) + time.monotonic() - started,
        ttft_s=0.0,  # nothing can be shown until all answers are known
        member_seconds=sum(candidate.member_seconds for candidate in candidates),
    )


def most_frequent(votes: Sequence[str]) -> int:
    """The index of the first of the most frequent answers. An empty answer has no vote."""
    counts = Counter(filter(None, votes))
    return max(range(len(votes)), key=lambda index: counts[votes[index]])


def least_risk(texts: Sequence[str]) -> int:
    """The index of the text with the largest mean chrF to the others; the first of equals."""
    from sacrebleu.metrics.chrf import CHRF

    chrf = CHRF()

    def likeness(index: int) -> float:
        others = [text for other, text in enumerate(texts) if other != index]
        return sum(float(chrf.sentence_score(texts[index], [other]).score) for other in others)

    return max(range(len(texts)), key=likeness)


def lowest_perplexity(ensemble: Ensemble, prompt: str, texts: Sequence[str], *, raw: bool = True) -> int:
    """The index of the text with the fewest bits per byte after `prompt`, averaged over members.

    The first of equals. An empty text is chosen last.
    """
    distinct = [text for text in dict.fromkeys(texts) if text]
    bits = dict.fromkeys(texts, float("inf")) | dict.fromkeys(distinct, 0.0)
    for name in ensemble.config.member_names:
        scores = ensemble.score(prompt, distinct, ensemble.config.settings, alone=name, raw=raw) if distinct else []
        for text, score in zip(distinct, scores, strict=True):
            bits[text] += score.bits_per_byte
    return min(range(len(texts)), key=lambda index: bits[texts[index]])


def _text(task: Task, question: Question, candidate: Graded) -> str:
    if task.kind == "choice":
        return task.continuations(question)[question.choices.index(candidate.prediction)]
    return candidate.text


class OutOfTimeError(GacError):
    """The time for answers is over."""


def answer(
    ensemble: Ensemble,
    task: Task,
    question: Question,
    system: System,
    candidates: Sequence[Graded] = (),
    *,
    namespace: str = "",
    is_over: Callable[[], bool] = lambda: False,
) -> Graded:
    """The system's answer, judged. If a member fails, or prompt or choices do not fit, `error` says so. Decoding is
    greedy and ends as the task says, unless the system's name says otherwise.

    Args:
        candidates: the answers of the system's candidates, if it has any.
        namespace: the task's in the prefix cache.
        is_over: is asked before each token.

    Raises:
        OutOfTimeError: the time is over.
    """
    usual = {"temperature": 0.0, "stop": task.stop, "max_new_tokens": task.max_new_tokens}
    settings = system.settings(ensemble.config, **{**usual, **system.changes})
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
        return Graded(question.id, error=str(error))


def _written(
    ensemble: Ensemble, task: Task, question: Question, how: dict[str, Any], is_over: Callable[[], bool]
) -> Graded:
    with closing(ensemble.generate(task.prompt(question), **how)) as events:
        for event in events:
            if isinstance(event, FinishedEvent):
                finished = event
            elif is_over():
                raise OutOfTimeError
    prediction = extracted(finished.text, task.extract)
    given = Graded(
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


def _chosen(ensemble: Ensemble, task: Task, question: Question, how: dict[str, Any]) -> Graded:
    scores = ensemble.score(task.prompt(question), task.continuations(question), **how)
    index = min(range(len(scores)), key=lambda i: scores[i].bits_per_byte)
    return Graded(
        question.id,
        is_right=index == question.answer,
        prediction=question.choices[index],
        log_probs=tuple(score.log_prob for score in scores),
        num_tokens=sum(score.num_steps for score in scores),
        num_ensembled=sum(score.num_ensembled for score in scores),
        seconds=sum(score.seconds for score in scores),
    )
