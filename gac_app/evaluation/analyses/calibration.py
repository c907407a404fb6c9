"""The calibration of several systems on one task: overall, by domain, and after temperature scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gac_app.errors import GacError, RequestError
from gac_app.evaluation.metrics.calibration import Calibration, ScoredChoices, calibration_of
from gac_app.evaluation.metrics.calibration_temperature import TemperatureScaling, scale_temperature
from gac_app.evaluation.running import Answer, System
from gac_app.evaluation.tasks import Question, Task

MIN_QUESTIONS = 2  # one to fit a temperature, one to check it


@dataclass(frozen=True, slots=True)
class SystemCalibration:
    """One system's calibration: on all questions, by domain, and with temperature scaling."""

    overall: Calibration
    domains: dict[str, Calibration]
    scaling: TemperatureScaling


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """The calibration of systems on one task, by system name."""

    task: str
    num_questions: int
    systems: dict[str, SystemCalibration]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        systems = {}
        for name, system in self.systems.items():
            facts = asdict(system)
            systems[name] = {**facts.pop("overall"), **facts}
        return {"task": self.task, "n": self.num_questions, "systems": systems}


def check_choices(task: Task, questions: Sequence[Question]) -> None:
    """Raise RequestError if the task has no choices, or too few questions."""
    if task.kind != "choice":
        raise RequestError("task", f"{task.name} has no choices to be sure of; expected a task of multiple choice")
    task.check(questions)
    if len(questions) < MIN_QUESTIONS:
        raise RequestError("data", f"holds {len(questions)} questions; expected {MIN_QUESTIONS} or more")


def calibrate_systems(
    task: Task, questions: Sequence[Question], answers: Mapping[System, Sequence[Answer]]
) -> CalibrationReport:
    """Evaluate every system's answers to `questions`, in their order. Call `check_choices` before.

    Raises:
        GacError: an answer failed; leaving out its question would change the figures.
    """
    systems = {}
    for system, given in answers.items():
        failed = [answer for answer in given if answer.error]
        if failed:
            raise GacError(f"{system.name}: {len(failed)} answers failed; the first: {failed[0].error}")
        scored = [
            ScoredChoices(answer.log_probs, question.answer, question.domain)
            for answer, question in zip(given, questions, strict=True)
        ]
        systems[system.name] = _calibrate(scored)
    return CalibrationReport(task.name, len(questions), systems)


def _calibrate(scored: Sequence[ScoredChoices]) -> SystemCalibration:
    domains: dict[str, list[ScoredChoices]] = {}
    for question in scored:
        if question.domain:
            domains.setdefault(question.domain, []).append(question)
    return SystemCalibration(
        overall=calibration_of(scored),
        domains={name: calibration_of(domains[name]) for name in sorted(domains)},
        scaling=scale_temperature(scored),
    )
