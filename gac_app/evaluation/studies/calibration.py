"""The calibration of systems on a multiple-choice task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from gac_app.charts import SOFT, Panel, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.evaluation.running import System, alone_and_every_step, parse_systems, refuse_rules
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, Table
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.studies.wording import colours_of, figure
from gac_app.evaluation.tasks import Question, Task

if TYPE_CHECKING:  # they load numpy, which commands and page need not wait for
    from gac_app.evaluation.analyses.calibration import CalibrationReport
    from gac_app.evaluation.metrics.calibration import Calibration

_ADVICE = (
    "A member that is the gate may be given its temperature: Gate temperature in a run's settings, "
    "settings.gate_temperature in a configuration."
)


class CalibrationStudy(QuestionStudy):
    """Measure calibration errors overall and by domain, and fit a temperature on one half, checked on the other."""

    name = "calibrate"
    title = "Calibration"
    about = "Whether each is as often right as it is sure."
    needs = "choice"
    place = 5
    systems: str | None = Field(
        None, description="As for eval. Default: each member alone, and every-step; comma-separated."
    )

    def systems_of(self, config: Config) -> list[System]:
        return parse_systems(self.systems, config) if self.systems else alone_and_every_step(config)

    def check(self, config: Config, task: Task, questions: Sequence[Question], asked: Sequence[Question]) -> None:
        from gac_app.evaluation.analyses.calibration import check_choices

        refuse_rules(self.systems_of(config))
        check_choices(task, asked)

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Calibration errors and reliability diagrams. Raises GacError if an answer failed."""
        from gac_app.evaluation.analyses.calibration import calibrate_systems

        config = ask.ensemble.config
        self.check(config, ask.task, ask.questions, asked)
        report = calibrate_systems(ask.task, asked, ask(self.systems_of(config), asked))
        tables = [_systems(report), _scaling(report)]
        if any(system.domains for system in report.systems.values()):
            tables.append(_domains(report))
        return StudyResult(
            study=self.name,
            heading=f"{report.task}: {report.num_questions} questions",
            tables=tables,
            data=report.to_json(),
            remarks=[_ADVICE, *_unfitted(report)],
            plots=_plots(report, config.member_names),
        )


def _unfitted(report: CalibrationReport) -> list[str]:
    names = [name for name, system in report.systems.items() if system.scaling.temperature is None]
    why = "too few questions, or answers no better than chance"
    return [f"No temperature fits {name}: {why}." for name in names]


def _systems(report: CalibrationReport) -> Table:
    rows = []
    for name, system in report.systems.items():
        found = system.overall
        figures = (found.accuracy, found.confidence, found.ece, found.chance_ece, found.adaptive_ece)
        rows.append([name, *(f"{figure:.3f}" for figure in (*figures, found.classwise_ece))])
    columns = ("system", "accuracy", "confidence", "ECE", "ECE by chance", "adaptive ECE", "classwise ECE")
    return Table(columns, rows)


def _scaling(report: CalibrationReport) -> Table:
    rows = []
    for name, system in report.systems.items():
        before, after = system.scaling.before, system.scaling.after
        scaled = (after.ece, after.chance_ece, after.nll) if after else (None, None, None)
        figures = (before.ece, *scaled[:2], before.nll, scaled[2])
        temperature = figure(system.scaling.temperature, 2)
        rows.append([name, temperature, *(figure(found, 3) for found in figures)])
    columns = ("system", "temperature", "ECE", "ECE scaled", "ECE by chance", "nats", "nats scaled")
    return Table(columns, rows, "Temperature fitted on one half of the questions, checked on the other")


def _domains(report: CalibrationReport) -> Table:
    rows = []
    for domain, found in next(iter(report.systems.values())).domains.items():
        in_domain = (system.domains[domain] for system in report.systems.values())
        figures = (f"{system.ece:.3f} ({system.chance_ece:.3f})" for system in in_domain)
        rows.append([domain, str(found.num_questions), *figures])
    return Table(("domain", "questions", *report.systems), rows, "ECE by domain (ECE by chance)")


def _plots(report: CalibrationReport, members: Sequence[str]) -> list[Spec]:
    """Reliability diagrams without and with scaling: a dot per bin; its area is the number of predictions."""
    colours = colours_of(list(report.systems), members)
    scaled = {name: s.scaling.after for name, s in report.systems.items() if s.scaling.after}
    found = [("accuracy", {name: system.overall for name, system in report.systems.items()})]
    found += [("accuracy, half of them, temperature scaled", scaled)] if scaled else []
    panels = [Panel("confidence", label, _reliability(by_name, colours), end=1.0) for label, by_name in found]
    return line_charts(f"Reliability on {report.task}, {report.num_questions} questions", panels)


def _reliability(found: Mapping[str, Calibration], colours: Mapping[str, str]) -> dict[str, Series]:
    lines = {
        name: Series([(dot.confidence, dot.accuracy) for dot in one.bins], colours[name], [b.count for b in one.bins])
        for name, one in found.items()
    }
    return {"as often right as sure": Series([(0.0, 0.0), (1.0, 1.0)], SOFT), **lines}
