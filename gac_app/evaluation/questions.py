"""Questions of a benchmark, from JSON Lines.

Generation: `{"question": "...", "answers": ["accepted", ...]}`, optionally `solution`, a worked answer.
Multiple choice: `{"question": "...", "choices": ["...", ...], "answer": 0}`.
Either may have an `id`, and a `domain` (or `task`) that it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from gac_app.errors import RequestError


class Question(BaseModel):
    """One question. `answer` is the index of the right choice; -1 where there are no choices."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    id: str = ""
    question: str = Field(min_length=1)
    choices: tuple[str, ...] = ()
    answer: int = -1
    answers: tuple[str, ...] = ()
    solution: str = ""
    domain: str = Field("", validation_alias=AliasChoices("domain", "task", "subject"))

    @property
    def is_choice(self) -> bool:
        return 0 <= self.answer < len(self.choices)


def read_questions(path: Path) -> list[Question]:
    """All questions of a file, in its order. Raises RequestError, naming the line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise RequestError("data", f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise RequestError("data", f"{path}: is not UTF-8 text") from None
    questions = [_question(line, f"{path}, line {n}", n) for n, line in enumerate(lines, start=1) if line.strip()]
    if not questions:
        raise RequestError("data", f"{path}: holds no questions")
    ids = [question.id for question in questions]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise RequestError("data", f"{path}: the id {twice!r} stands twice")
    return questions


def first_of_each_domain(questions: Sequence[Question], limit: int | None) -> list[Question]:
    """At most `limit` questions, taken from the domains in turn: a sample of a file sorted by domain stays a sample.

    The questions of a smaller limit are among those of a larger one.
    """
    domains: dict[str, list[Question]] = {}
    for question in questions:
        domains.setdefault(question.domain, []).append(question)
    in_turn = [question for question in chain.from_iterable(zip_longest(*domains.values())) if question is not None]
    return in_turn[:limit]


def _question(line: str, where: str, number: int) -> Question:
    try:
        question = Question.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise RequestError("data", f"{where}: {key + ': ' if key else ''}{first['msg']}") from None
    if not (question.is_choice or question.answers):
        raise RequestError("data", f"{where}: needs 'answers', or 'choices' with the index 'answer' of the right one")
    return question if question.id else question.model_copy(update={"id": f"line-{number}"})
