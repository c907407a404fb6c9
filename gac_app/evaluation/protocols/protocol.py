"""The file of a study: tasks, the grid of systems, rivals, and how many questions are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Self

import yaml
from pydantic import Field, ValidationError, model_validator

from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.metrics import effect_shown, questions_needed
from gac_app.evaluation.running import System, parse_system, refuse_rules
from gac_app.evaluation.tasks import Question, Task, asked, normalised
from gac_app.validation import Frozen, fault_in_words, text_of, yaml_of


class StudyTask(Frozen):
    """A task and its questions. Paths are beside the study's file."""

    task: str  # a built-in one, or a .yaml file
    data: Path
    examples: Path | None = None  # worked examples in place of the task's own


class Protocol(Frozen):
    """A study: one setting of a grid is chosen, and judged by right answers."""

    about: str = Field(min_length=1)  # the question that it answers, in a sentence
    config: Path  # of the members
    tasks: tuple[StudyTask, ...] = Field(min_length=1)
    gates: tuple[str, ...] = Field(("every-step",), min_length=1)  # every-step, gate@0.5, agreement
    rules: tuple[str, ...] = Field(("mean",), min_length=1)  # combine rules, each with every gate
    systems: tuple[str, ...] = ()  # further settings of the grid: systems of `eval` that decode
    rivals: tuple[str, ...] = ()  # judged beside the best member, such as vote
    sparing: float | None = Field(None, gt=0, lt=1)  # most share of steps ensembled of a second setting, see StudyRun
    timed: int = Field(10, ge=1)  # held-out questions that are answered once more, one at a time, for members' seconds
    effect: float = Field(0.03, gt=0, lt=1)  # a difference of accuracies that must not be missed
    power: float = Field(0.8, gt=0, lt=1)  # the probability with which it is shown
    level: float = Field(0.05, gt=0, lt=1)  # of all tests together
    discordant: float = Field(0.2, gt=0, le=1)  # share of questions that one gets right and the other wrong; a guess
    questions: int | None = Field(None, ge=4)  # of a task at most; None = as many as are needed
    development: float = Field(0.5, gt=0, lt=1)  # share of the questions, on which is chosen; the rest is held out
    seed: int = 0  # says which
    parallel: int = Field(4, ge=1, le=64)  # answers at once

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.discordant < self.effect:
            raise ValueError("discordant: is less than the effect, which is a part of it")
        return self

    @property
    def num_tests(self) -> int:
        """Of each task: the chosen setting against best member and rivals, the sparing one against best member and
        chance."""
        return len(self.tasks) * (1 + len(self.rivals) + 2 * bool(self.sparing))

    @property
    def num_needed(self) -> int:
        """Held-out questions of a task."""
        return questions_needed(self.effect, self.power, self.discordant, self.level / self.num_tests)

    def cut(self, questions: Sequence[Question]) -> tuple[list[Question], list[Question]]:
        """The development questions and those held out, in an order that only the seed and the questions decide."""

        def place(question: Question) -> str:
            return hashlib.sha256(f"{self.seed} {question.id} {question.question}".encode()).hexdigest()

        most = min(len(questions), self.questions or ceil(self.num_needed / (1 - self.development)))
        num_first = min(max(int(most * self.development), 1), most - 1)
        drawn = sorted(questions, key=place)[:most]
        return drawn[:num_first], drawn[num_first:]

    def shown_by(self, num_questions: int) -> float | None:
        """The smallest effect that so many held-out questions show with the power wanted; None if they show none."""
        return effect_shown(num_questions, self.power, self.discordant, self.level / self.num_tests)

    def grid(self, config: Config) -> list[System]:
        """The settings of which one is chosen. Raises RequestError."""
        usual = config.settings.combine  # a system's name tells what differs from the configuration
        pairs = [gate if rule == usual else f"{gate}+combine={rule}" for gate in self.gates for rule in self.rules]
        found = [parse_system(name, config) for name in dict.fromkeys([*pairs, *self.systems])]
        refuse_rules(found)
        if alone := [one.name for one in found if one.alone]:
            raise RequestError("systems", f"{alone[0]!r} is judged as a member; expected settings of the ensemble")
        return found


@dataclass(frozen=True, slots=True)
class Part:
    """A task of a study with its questions: all, those on which is chosen, and those held out."""

    task: Task
    questions: list[Question]
    development: list[Question]
    held_out: list[Question]


def read_protocol(path: Path) -> Protocol:
    """A study's file; its paths become those beside it. Raises RequestError."""
    try:
        given = yaml_of(text_of(path))
        if isinstance(given, dict) and "measure" in given:
            raise RequestError("study", f"{path}: measure: there are no studies of pairs any more; remove this study")
        found = Protocol.model_validate(given)
    except ValidationError as error:
        raise RequestError("study", f"{path}: {fault_in_words(error)}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise RequestError("study", f"{path}: not a study ({' '.join(str(error).split())})") from None
    tasks = [
        StudyTask(
            task=str(path.parent / one.task) if one.task.endswith((".yaml", ".yml")) else one.task,
            data=path.parent / one.data,
            examples=path.parent / one.examples if one.examples else None,
        )
        for one in found.tasks
    ]
    return found.model_copy(update={"tasks": tuple(tasks), "config": path.parent / found.config})


def _refuse_twice(questions: Sequence[Question], data: Path) -> None:
    """Raise RequestError if a question stands twice: it could be developed on and be held out."""
    seen = set[str]()
    for question in questions:
        text = normalised(question.as_prompt, "text")
        if text in seen:
            raise RequestError("data", f"{data}: {question.id}: asks what another question asks; each may stand once")
        seen.add(text)


def refuse_developed(parts: Sequence[Part]) -> None:
    """Raise RequestError if a question that one task holds out is a development question of another."""
    developed = {normalised(question.as_prompt, "text") for part in parts for question in part.development}
    for part in parts:
        for question in part.held_out:
            if normalised(question.as_prompt, "text") in developed:
                why = "is held out, but another task develops on it; remove it from one"
                raise RequestError("data", f"{part.task.name}, {question.id}: {why}")


def parts_of(protocol: Protocol) -> list[Part]:
    """The tasks with their questions. Raises RequestError."""
    parts = []
    for one in protocol.tasks:
        task, questions = asked(one.task, one.data, one.examples)
        if len(questions) < 4:
            raise RequestError("data", f"{one.data}: has {len(questions)} questions; a study needs at least 4")
        _refuse_twice(questions, one.data)
        parts.append(Part(task, questions, *protocol.cut(questions)))
    names = [part.task.name for part in parts]
    if len(set(names)) < len(names):
        raise RequestError("tasks", "duplicate name; each task needs its own")
    return parts
