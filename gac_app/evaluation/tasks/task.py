"""Tasks: how a benchmark's questions are asked and its answers judged. `task_files/` has a file for each.

Prompts are raw documents, so that base and chat models read the same: a header, a few worked examples, the question.
A task of form `chat` puts the same text as one message into each model's own chat template.
There are two kinds of task. *Generation* writes an answer; `extract` takes a part of it, and `match` compares that with
the accepted answers. *Choice* scores each choice as a continuation; the one with the largest probability per byte is
the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import Formatter
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from gac_app.errors import RequestError
from gac_app.evaluation.tasks.matching import Match
from gac_app.evaluation.tasks.questions import Question, read_questions
from gac_app.validation import fault_in_words, text_of, yaml_of

_FOLDER = Path(__file__).parent / "task_files"
_SAMPLES = Path(__file__).parents[1] / "samples"
# The questions that come with the package: by name, the task that they follow, and their file.
SAMPLES = {
    name: (task, _SAMPLES / f"{name}.jsonl")
    for name, task in {"trivia": "triviaqa", "sense": "arc_challenge", "sums": "gsm8k"}.items()
}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PLACEHOLDERS = {"header": ("domain",), "ask": ("question", "options"), "worked": ("answer",)}


class Task(BaseModel):
    """One benchmark's protocol. `header` may use {domain}, `ask` {question} and {options}, `worked` {answer}."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    about: str  # the protocol in a sentence, and its source
    kind: Literal["generation", "choice"]
    form: Literal["document", "chat"] = "document"
    header: str = ""
    ask: str  # ends where the answer begins
    worked: str = " {answer}"  # the answer of an example that has no `solution`; a choice
    separator: str = "\n\n"
    choices: Literal["text", "letters"] = "text"  # how `worked` shows a choice
    num_examples: int = 0  # worked examples before the question
    examples: tuple[Question, ...] = ()  # those of the question's domain, or else those without a domain
    # generation only
    stop: tuple[str, ...] = ()
    max_new_tokens: int = 32
    extract: str = r"(?s)(.+)"  # see `matching.extracted`
    match: Match = "words"

    @model_validator(mode="after")
    def _check_templates(self) -> Self:
        for key, known in _PLACEHOLDERS.items():
            expected = f"expected {', '.join(f'{{{name}}}' for name in known)}; a brace itself is {{{{ or }}}}"
            try:
                names = [name for _, name, _, _ in Formatter().parse(getattr(self, key)) if name is not None]
            except ValueError as error:
                raise ValueError(f"{key}: {error}; {expected}") from None
            if unknown := [name for name in names if name not in known]:
                raise ValueError(f"{key}: unknown placeholder {{{unknown[0]}}}; {expected}")
        if self.form == "chat" and self.kind == "choice":
            raise ValueError("form: a chat is of written answers; expected document where choices are scored")
        return self

    @property
    def is_raw(self) -> bool:
        """Whether the prompt is a document, without a chat template."""
        return self.form == "document"

    @field_validator("extract")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        try:
            has_group = re.compile(pattern).groups > 0
        except re.error as error:
            raise ValueError(f"invalid regular expression ({error})") from None
        if not has_group:
            raise ValueError("has no group (...) that holds the answer")
        return pattern

    @property
    def is_of_few_words(self) -> bool:
        """Whether an answer is a few words, without a worked solution or a number."""
        return self.match in ("words", "trivia")

    def prompt(self, question: Question) -> str:
        """The document that the answer continues."""
        shown = [f"{self._asked(example)}{self._solution(example)}" for example in self._examples_for(question)]
        header = self.header.format(domain=question.domain or "general knowledge")
        return header + self.separator.join([*shown, self._asked(question)])

    def continuations(self, question: Question) -> list[str]:
        """The texts to score after the prompt, one per choice."""
        texts = _LETTERS[: len(question.choices)] if self.choices == "letters" else question.choices
        return [self.worked.format(answer=text.strip()) for text in texts]

    def reference(self, question: Question) -> str:
        """The text of a right answer, as it follows the prompt."""
        text = self._solution(question)
        return text if self.is_raw else text.strip()

    def check(self, questions: Sequence[Question]) -> None:
        """Raise RequestError if a question is not of this task's kind."""
        for question in questions:
            if self.kind == "choice" and not question.is_choice:
                raise RequestError("data", f"{question.id}: {self.name} needs 'choices' and the index 'answer'")
            if self.kind == "choice" and len(question.choices) > len(_LETTERS):
                raise RequestError("data", f"{question.id}: has more than {len(_LETTERS)} choices")
            if self.kind == "generation" and not question.answers:
                raise RequestError("data", f"{question.id}: {self.name} needs 'answers'")

    def with_examples(self, examples: Sequence[Question]) -> Task:
        """This task with the user's worked examples instead of the built-in ones."""
        self.check(examples)
        return self.model_copy(update={"examples": tuple(examples), "num_examples": self.num_examples or 5})

    def _examples_for(self, question: Question) -> list[Question]:
        near = [e for e in self.examples if e.domain == question.domain] or [e for e in self.examples if not e.domain]
        return [example for example in near if example.question != question.question][: self.num_examples]

    def _asked(self, question: Question) -> str:
        options = "\n".join(f"{_LETTERS[i]}. {text.strip()}" for i, text in enumerate(question.choices))
        return self.ask.format(question=question.question.strip(), options=options)

    def _solution(self, example: Question) -> str:
        if self.kind == "choice":
            return self.continuations(example)[example.answer]
        return f" {example.solution}" if example.solution else self.worked.format(answer=example.answers[0])


def task_names() -> list[str]:
    """The built-in tasks."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_task(name: str) -> Task:
    """The built-in task of that name. Raises RequestError if there is none."""
    if name not in task_names():
        raise RequestError("task", f"unknown task {name!r}; expected {', '.join(task_names())}, or a .yaml file")
    return Task.model_validate({"name": name, **_merged(_FOLDER / f"{name}.yaml")})


def read_task(path: Path) -> Task:
    """A task from a YAML file, which may extend a built-in one. Raises RequestError."""
    try:
        return Task.model_validate({"name": path.stem, **_merged(path)})
    except ValidationError as error:
        raise RequestError("task", f"{path}: {fault_in_words(error)}") from None
    except (ValueError, yaml.YAMLError, TypeError, AttributeError) as error:
        raise RequestError("task", f"{path}: not a task ({' '.join(str(error).split())})") from None


def asked(name: str, data: Path, examples: Path | None = None) -> tuple[Task, list[Question]]:
    """A task and a file's questions, checked against it. Raises RequestError.

    Args:
        name: of a built-in task, or a file of one, whose name ends in `.yaml` or `.yml`.
        examples: a file of questions to take worked examples from, instead of the built-in ones.
    """
    task = read_task(Path(name)) if name.endswith((".yaml", ".yml")) else load_task(name)
    if examples:
        task = task.with_examples(read_questions(examples))
    questions = read_questions(data)
    task.check(questions)
    return task, questions


def _merged(path: Path) -> dict[str, Any]:
    """A file's keys, completed by those of the built-in task that it `extends`."""
    data: dict[str, Any] = yaml_of(text_of(path))
    base = data.pop("extends", None)
    if base and base not in task_names():
        raise RequestError("task", f"{path}: extends: unknown task {base!r}; expected {', '.join(task_names())}")
    return {**_merged(_FOLDER / f"{base}.yaml"), **data} if base else data
