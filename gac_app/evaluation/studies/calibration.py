"""The calibration of systems on a multiple-choice task: overall, by domain, and after temperature scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from gac_app.charts import SOFT, Panel, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.errors import GacError, Phrase, RequestError
from gac_app.evaluation.running import Graded, System, alone_and_every_step, parse_systems, refuse_rules
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, Table, colours_of, figure, questions_asked
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.tasks import Question, Task, halves

if TYPE_CHECKING:  # it loads numpy, which commands and page need not wait for
    from gac_app.evaluation.metrics.calibration import Calibration, TemperatureScaling

MIN_QUESTIONS = 2  # one to fit a temperature, one to check it
_USE = (
    "A member that is the gate may be given its temperature: Gate temperature in a run's settings, "
    "settings.gate_temperature in a configuration."
)


@dataclass(frozen=True, slots=True)
class SystemCalibration:
    """One system's calibration: on all questions, by domain, and with temperature scaling."""

    overall: Calibration
    domains: dict[str, Calibration]
    scaling: TemperatureScaling


Calibrations = Mapping[str, SystemCalibration]  # by the system's name


class CalibrationStudy(QuestionStudy):
    """Measure calibration errors overall and by domain, and fit a temperature on one half, checked on the other."""

    name = "calibrate"
    title = "Calibration"
    needs = "choice"
    place = 5
    systems: str | None = Field(
        None, description="As for eval. Default: each member alone, and every-step; comma-separated."
    )

    def systems_of(self, config: Config) -> list[System]:
        return parse_systems(self.systems, config) if self.systems else alone_and_every_step(config)

    def check(self, config: Config, task: Task, questions: Sequence[Question], asked: Sequence[Question]) -> None:
        refuse_rules(self.systems_of(config))
        check_choices(task, asked)

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Calibration errors and reliability diagrams. Raises GacError if an answer failed."""
        config = ask.ensemble.config
        self.check(config, ask.task, ask.questions, asked)
        found = calibrate_systems(asked, ask(self.systems_of(config), asked))
        domains = [_domains(found)] if any(system.domains for system in found.values()) else []
        return StudyResult(
            study=self.name,
            heading=questions_asked(ask.task.name, len(asked)),
            tables=[_systems(found), _scaling(found), *domains],
            data={"task": ask.task.name, "n": len(asked), "systems": _data(found)},
            remarks=[_USE, *_unfitted(found)],
            plots=_plots(Phrase("Reliability on {task}", task=Phrase(ask.task.name)), found, config.member_names),
        )


def check_choices(task: Task, questions: Sequence[Question]) -> None:
    """Raise RequestError if the task has no choices, or too few questions."""
    if task.kind != "choice":
        raise RequestError("task", f"{task.name} has no choices to be sure of; expected a task of multiple choice")
    task.check(questions)
    if len(questions) < MIN_QUESTIONS:
        raise RequestError("data", f"holds {len(questions)} questions; expected {MIN_QUESTIONS} or more")


def calibrate_systems(questions: Sequence[Question], answers: Mapping[System, Sequence[Graded]]) -> Calibrations:
    """Evaluate every system's answers to `questions`, in their order. Call `check_choices` before.

    Raises:
        GacError: an answer failed; leaving out its question would change the figures.
    """
    from gac_app.evaluation.metrics.calibration import ScoredChoices, calibration_of, scale_temperature

    names = sorted({question.domain for question in questions} - {""})
    domains = {name: [question for question in questions if question.domain == name] for name in names}
    systems = {}
    for system, given in answers.items():
        failed = [answer for answer in given if answer.error]
        if failed:
            raise GacError(f"{system.name}: {len(failed)} answers failed; the first: {failed[0].error}")
        scored = {q.id: ScoredChoices(answer.log_probs, q.answer) for q, answer in zip(questions, given, strict=True)}
        systems[system.name] = SystemCalibration(
            overall=calibration_of(list(scored.values())),
            domains={name: calibration_of([scored[q.id] for q in found]) for name, found in domains.items()},
            scaling=scale_temperature(*([scored[q.id] for q in half] for half in halves(questions))),
        )
    return systems


def _data(found: Calibrations) -> dict[str, Any]:
    """Plain values."""
    facts = {name: asdict(system) for name, system in found.items()}
    return {name: {**system.pop("overall"), **system} for name, system in facts.items()}


def _unfitted(found: Calibrations) -> list[str]:
    names = [name for name, system in found.items() if system.scaling.temperature is None]
    template = "No temperature fits {name}: too few questions, or answers no better than chance."
    return [Phrase(template, name=name) for name in names]


def _systems(found: Calibrations) -> Table:
    rows = []
    for name, system in found.items():
        all_of = system.overall
        figures = (all_of.accuracy, all_of.confidence, all_of.ece, all_of.chance_ece, all_of.adaptive_ece)
        rows.append([name, *(f"{figure:.3f}" for figure in (*figures, all_of.classwise_ece))])
    columns = ("system", "accuracy", "confidence", "ECE", "ECE by chance", "adaptive ECE", "classwise ECE")
    return Table(columns, rows)


def _scaling(found: Calibrations) -> Table:
    rows = []
    for name, system in found.items():
        before, after = system.scaling.before, system.scaling.after
        scaled = (after.ece, after.chance_ece, after.nll) if after else (None, None, None)
        figures = (before.ece, *scaled[:2], before.nll, scaled[2])
        temperature = figure(system.scaling.temperature, 2)
        rows.append([name, temperature, *(figure(one, 3) for one in figures)])
    columns = ("system", "temperature", "ECE", "ECE scaled", "ECE by chance", "nats", "nats scaled")
    return Table(columns, rows, "Temperature fitted on one half of the questions, checked on the other")


def _domains(found: Calibrations) -> Table:
    rows = []
    for domain, first in next(iter(found.values())).domains.items():
        in_domain = (system.domains[domain] for system in found.values())
        figures = (f"{system.ece:.3f} ({system.chance_ece:.3f})" for system in in_domain)
        rows.append([domain, str(first.num_questions), *figures])
    return Table(("domain", "questions", *found), rows, "ECE by domain (ECE by chance)")


def _plots(title: str, found: Calibrations, members: Sequence[str]) -> list[Spec]:
    """Reliability diagrams without and with scaling: a dot per bin; its area is the number of predictions."""
    colours = colours_of(list(found), members)
    scaled = {name: s.scaling.after for name, s in found.items() if s.scaling.after}
    shown = [("accuracy", {name: system.overall for name, system in found.items()})]
    shown += [("accuracy, half of them, temperature scaled", scaled)] if scaled else []
    panels = [Panel("confidence", label, _reliability(by_name, colours), end=1.0) for label, by_name in shown]
    return line_charts(title, panels)


def _reliability(found: Mapping[str, Calibration], colours: Mapping[str, str]) -> dict[str, Series]:
    lines = {
        name: Series([(dot.confidence, dot.accuracy) for dot in one.bins], colours[name], [b.count for b in one.bins])
        for name, one in found.items()
    }
    return {"confidence = accuracy": Series([(0.0, 0.0), (1.0, 1.0)], SOFT), **lines}
