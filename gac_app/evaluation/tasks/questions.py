"""Questions of a benchmark, from JSON Lines or CSV.

Generation: `{"question": "...", "answers": ["accepted", ...]}`, optionally `solution`, a worked answer.
Multiple choice: `{"question": "...", "choices": ["...", ...], "answer": 0}`.
In CSV these are columns, with `|` between several values, and `answer` may be the right choice itself, unless that is a
whole number: it is always the index, as in JSON.
Both may have an `id` and a `domain` (or `task`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from gac_app.errors import Phrase, RequestError, in_line
from gac_app.evaluation.tasks.given_text import csv_headings, csv_rows, read_text
from gac_app.validation import fault_in_words

MAX_OWN_CHARS = 250_000  # of a visitor's questions
_WHOLE = re.compile(r"[+-]?\d+")


class Question(BaseModel):
    """One question. `answer` is the index of the right choice; -1 without choices."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    id: str = ""
    question: str = Field(min_length=1)
    choices: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    answer: int = -1
    answers: tuple[str, ...] = ()
    solution: str = ""
    domain: str = Field("", validation_alias=AliasChoices("domain", "task", "subject"))

    @property
    def is_choice(self) -> bool:
        return 0 <= self.answer < len(self.choices)

    @property
    def as_prompt(self) -> str:
        """The question as asked in a chat."""
        return "\n".join([self.question.strip(), *(f"- {choice.strip()}" for choice in self.choices)])

    @property
    def accepted(self) -> str:
        """The right choice, or the accepted answers."""
        return self.choices[self.answer] if self.is_choice else " / ".join(self.answers)


def read_questions(path: Path) -> list[Question]:
    """All questions of a file, in order. Raises RequestError, naming the wrong line."""
    return parse_questions(read_text(path, "data"), "data", f"{path}")


def parse_questions(text: str, field: str, source: str = "") -> list[Question]:
    """All questions of a text, in order: JSON Lines, or CSV with a line of headings.

    Args:
        field: named by errors.
        source: of the text, for errors.

    Raises:
        RequestError: names the wrong line.
    """
    rows = enumerate(text.split("\n"), start=1) if text.lstrip().startswith("{") else _csv_rows(text, field)
    questions = [_question(row, field, source, n) for n, row in rows if row.strip()]
    if not questions:
        raise RequestError(
            field,
            f"{source}: no questions" if source else Phrase("Enter at least one question, one per line."),
        )
    ids = [question.id for question in questions]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise RequestError(field, (f"{source}: " if source else "") + f"duplicate id {twice[:40]!r}")
    return questions


def _csv_rows(text: str, field: str) -> Iterator[tuple[int, str]]:
    """Rows of CSV as JSON. Without a heading "question", the lines themselves, which then fail as JSON."""
    if "question" not in csv_headings(text):
        yield from enumerate(text.split("\n"), start=1)
        return
    for number, row in csv_rows(text, field):
        fields: dict[str, Any] = {key: value for key, value in row.items() if key and value}
        listed = fields.pop("choices", "").rstrip("| ")
        answer = str(fields.pop("answer", "")).strip()
        if listed:
            choices = [choice.strip() for choice in listed.split("|")]
            is_index = bool(_WHOLE.fullmatch(answer))
            found = answer if is_index or answer not in choices else choices.index(answer)
            fields |= {"choices": choices, "answer": found}
        elif answers := fields.pop("answers", answer):
            fields["answers"] = [one.strip() for one in answers.split("|")]
        yield number, json.dumps(fields)


def first_of_each_domain(questions: Sequence[Question], limit: int | None) -> list[Question]:
    """At most `limit` questions, taken from the domains in turn, so that files sorted by domain are sampled evenly.

    The questions of a smaller limit are among those of a larger one.
    """
    domains: dict[str, list[Question]] = {}
    for question in questions:
        domains.setdefault(question.domain, []).append(question)
    in_turn = [question for question in chain.from_iterable(zip_longest(*domains.values())) if question is not None]
    return in_turn[:limit]


def halves(questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
    """Development and held-out questions: alternating within each domain. With more questions, each stays in its half.

    Raises:
        RequestError: one of the halves would be empty.
    """
    split: tuple[list[Question], list[Question]] = ([], [])
    next_half: dict[str, int] = {}
    for question in questions:
        half = next_half.setdefault(question.domain, len(next_half) % 2)
        split[half].append(question)
        next_half[question.domain] = 1 - half
    if not all(split):
        raise RequestError("data", "has too few questions to tune on one half and check on the other")
    return split


def _at(source: str, number: int, fault: str) -> str:
    return f"{source}, line {number}: {fault}" if source else in_line(number, fault)


def _question(line: str, field: str, source: str, number: int) -> Question:
    try:
        question = Question.model_validate_json(line)
    except ValidationError as error:
        raise RequestError(field, _at(source, number, fault_in_words(error))) from None
    if not (question.is_choice or question.answers):
        needed = Phrase("Expected 'answers', or 'choices' with the index 'answer' of the right one.")
        raise RequestError(field, _at(source, number, needed))
    return question if question.id else question.model_copy(update={"id": f"line-{number}"})
