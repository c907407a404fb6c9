"""The studies of the Lab: their questions, and how each runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gac_app.config import Config
from gac_app.errors import ConfigError, RequestError
from gac_app.evaluation.studies import EnsembleStudy, Evaluator, QuestionStudy, StudyResult, studies
from gac_app.evaluation.tasks import SAMPLES, Question, Task, asked, first_of_each_domain, load_task, parse_questions

if TYPE_CHECKING:  # they load torch and numpy, which the page need not wait for
    from gac_app.decoding.ensemble import Ensemble
    from gac_app.evaluation.running import StudyProgress

OWN = "own"  # the set of a visitor's own questions
_OWN_TASKS = {"generation": "triviaqa", "choice": "arc_challenge"}  # the tasks whose protocols these follow

Study = QuestionStudy | EnsembleStudy
STUDIES = tuple(study for study in studies() if study.about)


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions with the task whose protocol they follow."""

    name: str
    task: Task
    questions: tuple[Question, ...]


def own_questions(text: str) -> QuestionSet:
    """A visitor's questions. Raises RequestError if there are none."""
    questions = parse_questions(text, "questions")
    kind = "choice" if all(question.is_choice for question in questions) else "generation"
    task = load_task(_OWN_TASKS[kind])
    task.check(questions)
    return QuestionSet(OWN, task.model_copy(update={"name": OWN}), tuple(questions))


def carry_out(
    study: type[Study],
    ensemble: Ensemble,
    chosen: QuestionSet | None,
    num_questions: int,
    folder: Path | None,
    on_progress: Callable[[StudyProgress], None],
) -> StudyResult:
    """Run a study over some of a set's questions. `chosen` is None for a study that needs none."""
    one = study()
    if isinstance(one, EnsembleStudy):
        return one.run(ensemble, on_progress)
    assert chosen is not None  # noqa: S101 (such a study has questions)
    ask = Evaluator(ensemble, chosen.task, chosen.questions, folder)
    ask.on_progress = on_progress
    return replace(one.run(ask, first_of_each_domain(chosen.questions, num_questions)), asked=ask.asked)


def question_sets(config: Config) -> tuple[QuestionSet, ...]:
    """The built-in sets, then the configuration's, which may replace them."""
    files = SAMPLES | {task: (task, path) for task, path in config.lab.questions.items()}
    sets = []
    for name, (task, path) in files.items():
        try:
            protocol, questions = asked(task, path)
        except RequestError as error:
            raise ConfigError(f"lab.questions.{name}: {error.message}") from None
        sets.append(QuestionSet(name, protocol.model_copy(update={"name": name}), tuple(questions)))
    return tuple(sets)
