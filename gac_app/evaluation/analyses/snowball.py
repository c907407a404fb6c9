"""Whether a wrong beginning snowballs: how often a system still reaches the right answer (paper, introduction).

Every system answers twice, greedily: from the prompt, and from the prompt and a wrong beginning (see `plants`), the
same for all. That beginning stands for an early error. Ensembles of whole answers choose among answers that all begin
with it. Both answers are judged by the text after the prompt or the plant: if answers are a few words, by whether it
contains an accepted answer; otherwise by the task's own rule. A system *recovers* if it was right without the plant and
is right with it. The *spread* of the error is the share of the words written without the plant that are kept with it,
by their place: an error that is soon corrected leaves the later words unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from typing import Any

from gac_app.evaluation.analyses.plants import Plant
from gac_app.evaluation.metrics import Comparison, compare, wilson_interval
from gac_app.evaluation.running import Answer, System
from gac_app.evaluation.tasks import Question, Task, extracted, is_right, normalised

# Places of words in an answer, from 1; from first to last.
PLACES = ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32), (33, 64))


@dataclass(frozen=True, slots=True)
class Kept:
    """The share of the words at these places, written without the plant, that the system still writes with it."""

    first: int
    last: int
    num_words: int
    share: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """One system. Failed answers count as wrong; `num_failed` counts those of both runs.

    Attributes:
        num_recovered: right with the plant, of those `num_right_without` it.
        num_right_planted: right with the plant, of all.
        vs_best_member: over all questions with the plant; the best member is the one most often right there.
        kept: the spread of the error, by place, up to the longest answer.
    """

    system: System
    num_questions: int
    num_right_without: int
    num_right_planted: int
    num_recovered: int
    num_failed: int
    vs_best_member: Comparison | None
    kept: tuple[Kept, ...]

    @property
    def share_recovered(self) -> float | None:
        """None if it was never right without the plant."""
        return self.num_recovered / self.num_right_without if self.num_right_without else None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        right = self.num_right_without
        return {
            "accuracy_without": right / self.num_questions,
            "accuracy_planted": self.num_right_planted / self.num_questions,
            "ci_planted": list(wilson_interval(self.num_right_planted, self.num_questions)),
            "num_right_without": right,
            "num_recovered": self.num_recovered,
            "share_recovered": self.share_recovered,
            "ci_recovered": list(wilson_interval(self.num_recovered, right)) if right else None,
            "errors": self.num_failed,
            "vs_best_member": asdict(self.vs_best_member) if self.vs_best_member else None,
            "kept_by_place": [asdict(kept) for kept in self.kept],
        }


@dataclass(frozen=True, slots=True)
class SnowballReport:
    """All systems, over the same questions."""

    task: str
    plant: Plant
    systems: Sequence[Recovery]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "task": self.task,
            "plant": self.plant,
            "n": self.systems[0].num_questions,
            "systems": {found.system.name: found.to_json() for found in self.systems},
        }


def judge_snowball(
    task: Task,
    plant: Plant,
    questions: Sequence[Question],
    without: Mapping[System, Sequence[Answer]],
    planted: Mapping[System, Sequence[Answer]],
) -> SnowballReport:
    """Evaluate the answers without and with plants.

    Args:
        task: without plants.
        without, planted: of the same systems to `questions`, in their order.
    """
    right_without = {system: _judged(task, questions, given) for system, given in without.items()}
    right_planted = {system: _judged(task, questions, given) for system, given in planted.items()}
    members = [system for system in planted if system.alone is not None]
    best = max(members, key=lambda system: sum(right_planted[system]), default=None)
    return SnowballReport(
        task=task.name,
        plant=plant,
        systems=[
            Recovery(
                system=system,
                num_questions=len(questions),
                num_right_without=sum(right_without[system]),
                num_right_planted=sum(right),
                num_recovered=sum(a and b for a, b in zip(right_without[system], right, strict=True)),
                num_failed=sum(bool(answer.error) for answer in (*without[system], *planted[system])),
                vs_best_member=compare(right, right_planted[best]) if best else None,
                kept=_kept(without[system], planted[system]),
            )
            for system, right in right_planted.items()
        ],
    )


def is_said(task: Task, question: Question, text: str) -> bool:
    """Whether `text`, written after a prompt or a plant, reaches the right answer; see the module's docstring.

    Example: of "nq", accepted "Paris": " Warsaw? No, Paris." -> True
    """
    if task.match != "words":
        return is_right(extracted(text, task.extract), question.answers, task.match)
    answer_text = f" {normalised(text, 'words')} "
    return any(f" {normalised(answer, 'words')} " in answer_text for answer in question.answers)


def words_kept(text: str, planted: str) -> list[bool]:
    """For each word of `text`, whether `planted` has it too, in the same order.

    Example: ("Half of 48 is 24.", "Half of 49 is 24.") -> [True, True, False, True, True]
    """
    words = text.split()
    kept = [False] * len(words)
    for start, _, length in SequenceMatcher(None, words, planted.split(), autojunk=False).get_matching_blocks():
        kept[start : start + length] = [True] * length
    return kept


def _kept(without: Sequence[Answer], planted: Sequence[Answer]) -> tuple[Kept, ...]:
    pairs = [(a.text, b.text) for a, b in zip(without, planted, strict=True) if not (a.error or b.error)]
    answers = [words_kept(text, planted_text) for text, planted_text in pairs]
    found = ((first, last, [kept for words in answers for kept in words[first - 1 : last]]) for first, last in PLACES)
    return tuple(Kept(first, last, len(words), sum(words) / len(words)) for first, last, words in found if words)


def _judged(task: Task, questions: Sequence[Question], answers: Sequence[Answer]) -> list[bool]:
    return [
        not answer.error and is_said(task, question, answer.text)
        for question, answer in zip(questions, answers, strict=True)
    ]
