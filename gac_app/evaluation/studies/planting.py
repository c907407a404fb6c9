"""Plants wrong beginnings of answers, to see which systems recover.

`word`       the first word of another question's solution or answer; not a token, since members cut differently
`sentence`   a whole wrong beginning that leaves room for the right answer:
             of a question with a worked solution, its first sentence with the result one too large
             ("Half of 48 is 48 / 2 = 25 clips."); of a task whose answers are a few words, another question's answer
             and ", or rather"; of other tasks, another question's answer as the worked examples have it
             ("So the answer is True.")

"Another question" is the next one in the file whose answer is short and wrong here: it shares no word with an accepted
answer and does not begin with an article, which may begin any answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from gac_app.errors import RequestError
from gac_app.evaluation.tasks import Question, Task, normalised

Plant = Literal["word", "sentence"]

_RESULT = re.compile(r"(?<==)\s*\$?(\d+)(?![\d,.]*\d)")  # "= 24": a whole number after an equals sign
_NUMBER = re.compile(r"(?<![\d.,])(\d+)(?![\d,.]*\d)")
_ARTICLES = ("a", "an", "the")
_MAX_WORDS = 6  # of a planted answer


class PlantedTask(Task):
    """A task whose prompts end in the wrong beginning of an answer, by question id."""

    plants: dict[str, str]

    def prompt(self, question: Question) -> str:
        return super().prompt(question) + self.plants[question.id]


def planted(task: Task, questions: Sequence[Question], kind: Plant) -> PlantedTask:
    """The task with wrong beginnings for `questions`, all of a file.

    Raises:
        RequestError: the task's answers are not written after a document, or no wrong beginning can be found.
    """
    if task.kind != "generation" or not task.is_raw:
        expected = "expected a task whose answers are written after a document"
        raise RequestError("task", f"{task.name} has no answers to be begun; {expected}")
    plants = {question.id: _plant(task, questions, index, kind) for index, question in enumerate(questions)}
    return PlantedTask.model_validate({**task.model_dump(), "plants": plants})


def _plant(task: Task, questions: Sequence[Question], index: int, kind: Plant) -> str:
    question = questions[index]
    if kind == "sentence":
        spoilt = spoilt_sentence(question.solution)
        if spoilt:
            return f" {spoilt}"
    other = _wrong_for(question, [*questions[index + 1 :], *questions[:index]])
    answer = other.answers[0].strip()
    if kind == "word":
        return f" {(other.solution or answer).split()[0]}"
    return f" {answer}, or rather" if task.is_of_few_words else task.worked.format(answer=answer)


def spoilt_sentence(solution: str) -> str:
    """The first sentence with its result, or else its last number, one too large; "" if it has no whole number.

    Example: "Half of 48 is 48 / 2 = 24 clips. In all ..." -> "Half of 48 is 48 / 2 = 25 clips."
    """
    sentence = re.split(r"(?<=[.!?])\s+|\n", solution.strip(), maxsplit=1)[0]
    found = [*_RESULT.finditer(sentence)] or [*_NUMBER.finditer(sentence)][-1:]
    if not found:
        return ""
    start, end = found[0].span(1)
    return f"{sentence[:start]}{int(found[0][1]) + 1}{sentence[end:]}"


def _wrong_for(question: Question, others: Sequence[Question]) -> Question:
    """The first of `others` that shares neither a word with an accepted answer nor the beginning of the solution."""
    right = {word for text in question.answers for word in _words(text)} | set(_words(question.solution)[:1])
    for other in others:
        begun = (other.solution or other.answers[0]).split()
        is_short = 0 < len(other.answers[0].split()) <= _MAX_WORDS and begun[0].lower() not in _ARTICLES
        if is_short and right.isdisjoint([*_words(other.answers[0]), *_words(begun[0])]):
            return other
    raise RequestError("data", f"{question.id}: no other question has an answer that is wrong for it")


def _words(text: str) -> list[str]:
    return normalised(text, "words").split()
