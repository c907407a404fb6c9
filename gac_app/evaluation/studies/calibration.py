"""Whether systems are as often right as they are sure, on a task of multiple choice."""

from __future__ import annotations

from collections.abc import Sequence

from gac_app.evaluation.asking import Asker
from gac_app.evaluation.calibration_diagram import reliability_diagram
from gac_app.evaluation.calibration_study import CalibrationReport, calibrate_systems, check_choices
from gac_app.evaluation.calibration_temperature import MAX_TEMPERATURE as MAX
from gac_app.evaluation.calibration_temperature import MIN_TEMPERATURE as MIN
from gac_app.evaluation.questions import Question
from gac_app.evaluation.studies.result import StudyResult, Table
from gac_app.evaluation.systems import System, refuse_rules


def run_calibration(ask: Asker, questions: Sequence[Question], systems: Sequence[System]) -> StudyResult:
    """Calibration errors and reliability diagrams of `systems`.

    Raises:
        RequestError: where the task has no choices, or a system no distribution.
        GacError: where an answer failed.
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
        plot=reliability_diagram(report),
    )


def _unfitted(report: CalibrationReport) -> list[str]:
    """Where the search ended at its bound."""
    names = [name for name, s in report.systems.items() if not 1.01 * MIN < s.scaling.temperature < 0.99 * MAX]
    return (
        [f"No temperature fits {' or '.join(names)}: too few questions, or answers no better than chance."]
        if names
        else []
    )


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
        figures = (before.ece, after.ece, after.chance_ece, before.nll, after.nll)
        rows.append([name, f"{system.scaling.temperature:.2f}", *(f"{figure:.3f}" for figure in figures)])
    columns = ("system", "temperature", "ECE", "ECE scaled", "ECE by chance", "nats", "nats scaled")
    return Table(columns, rows, "Temperature fitted on one half of the questions, checked on the other")


def _domains(report: CalibrationReport) -> Table:
    rows = []
    for domain, found in next(iter(report.systems.values())).domains.items():
        in_domain = (system.domains[domain] for system in report.systems.values())
        figures = (f"{system.ece:.3f} ({system.chance_ece:.3f})" for system in in_domain)
        rows.append([domain, str(found.num_questions), *figures])
    return Table(("domain", "questions", *report.systems), rows, "ECE by domain (ECE by chance)")
