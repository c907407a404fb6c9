"""Ensembles of whole answers, as baselines: members answer alone, and a rule picks one answer.

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
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gac_app.evaluation.running.result_cache import Answer
from gac_app.evaluation.running.systems import Rule
from gac_app.evaluation.tasks import Match, Question, Task, normalised

if TYPE_CHECKING:
    from gac_app.decoding.ensemble import Ensemble


def choose(ensemble: Ensemble, task: Task, question: Question, rule: Rule, candidates: Sequence[Answer]) -> Answer:
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
        index = most_frequent([candidate.prediction for candidate in candidates], task.match)
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


def most_frequent(predictions: Sequence[str], match: Match) -> int:
    """The index of the first of the most frequent answers. An empty answer has no vote."""
    votes = [normalised(answer, match) for answer in predictions]
    counts = Counter(vote for vote in votes if vote)
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


def _text(task: Task, question: Question, candidate: Answer) -> str:
    if task.kind == "choice":
        return task.continuations(question)[question.choices.index(candidate.prediction)]
    return candidate.text
