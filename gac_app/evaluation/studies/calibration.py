"""The calibration of systems on a multiple-choice task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gac_app.charts import SOFT, Panel, Series, Spec, line_charts
from gac_app.evaluation.analyses.calibration import CalibrationReport, calibrate_systems, check_choices
from gac_app.evaluation.metrics.calibration import Calibration
from gac_app.evaluation.running import System, refuse_rules
from gac_app.evaluation.studies.colours import colours_of
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import NOT_KNOWN, StudyResult, Table
from gac_app.evaluation.studies.wording import figure
from gac_app.evaluation.tasks import Question


def run_calibration(ask: Evaluator, questions: Sequence[Question], systems: Sequence[System]) -> StudyResult:
    """Calibration errors and reliability diagrams of `systems`.

    Raises:
        RequestError: the task has no choices, or a system has no distribution.
        GacError: an answer failed.
    """
    refuse_rules(systems)
    check_choices(ask.task, questions)
    report = calibrate_systems(ask.task, questions, ask(systems, questions))
    tables = [_systems(report), _scaling(report)]
    if any(system.domains for system in report.systems.values()):
        tables.append(_domains(report))
    return StudyResult(
        study="calibrate",
        heading=f"{report.task}: {report.num_questions} questions",
        tables=tables,
        data=report.to_json(),
        remarks=[
            "A member that is the gate may be given its temperature: Gate temperature in a run's settings, "
            "settings.gate_temperature in a configuration.",
            *_unfitted(report),
        ],
        plots=_plots(report, ask.ensemble.config.member_names),
    )


def _unfitted(report: CalibrationReport) -> list[str]:
    names = [name for name, system in report.systems.items() if system.scaling.temperature is None]
    why = "too few questions, or answers no better than chance"
    return [f"No temperature fits {' or '.join(names)}: {why}."] if names else []


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
        temperature = figure(system.scaling.temperature, 2) or NOT_KNOWN
        rows.append([name, temperature, *(figure(found, 3) or NOT_KNOWN for found in figures)])
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
