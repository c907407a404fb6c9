"""Accuracy against the share of steps ensembled and against time, over thresholds and gates."""

from __future__ import annotations

from collections.abc import Sequence

from gac_app.evaluation.analyses import ENOUGH_QUESTIONS, SweepReport, judge_sweep, plan_sweep
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, Table
from gac_app.evaluation.studies.threshold_plot import threshold_plots
from gac_app.evaluation.studies.wording import SHARED_TIMES, accuracy, compared, failure, figure
from gac_app.evaluation.tasks import Question

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_COLUMNS = ("system", "accuracy (95 %)", "ensembled", "ms/token", "s/answer", "vs every step", "Pareto front of")


def run_thresholds(
    ask: Evaluator, questions: Sequence[Question], thresholds: Sequence[float], gates: Sequence[str], options: str = ""
) -> StudyResult:
    """Try every threshold with every gate; see `threshold_sweep`. Raises RequestError if one does not fit."""
    plan = plan_sweep(ask.ensemble.config, thresholds, gates, options)
    report = judge_sweep(ask.task.name, plan, ask(plan.systems, questions))
    return StudyResult(
        study="sweep",
        heading=f"{report.task}: {report.every_step.num_questions} questions",
        tables=[Table(_COLUMNS, _rows(report))],
        data=report.to_json(),
        remarks=[_recommendation(report), *([SHARED_TIMES] if ask.task.kind == "choice" else [])],
        plots=threshold_plots(report, ask.ensemble.config.member_names),
        failure=failure(point.report for point in report.points.values()),
    )


def _rows(report: SweepReport) -> list[list[str]]:
    rows = []
    for system, point in report.points.items():
        found = point.report
        fronts = {"share": point.is_on_share_front, "time": point.is_on_time_front}
        rows.append(
            [
                system.name,
                accuracy(found),
                f"{found.share_ensembled:.1%}",
                figure(found.ms_per_token, 1),
                figure(found.seconds_per_answer, 2),
                compared(found.vs[report.every_step.system.name]),
                ", ".join(name for name, is_on in fronts.items() if is_on),
            ]
        )
    return rows


def _recommendation(report: SweepReport) -> str:
    if report.every_step.num_questions < ENOUGH_QUESTIONS:
        return f"Too few questions to recommend a threshold; {ENOUGH_QUESTIONS} or more are needed."
    if report.recommended is None:
        return "No threshold tried reaches every step's 95 % interval."
    share = report.points[report.recommended].report.share_ensembled
    name = report.recommended.name
    found = f"Recommended: {name}, {share:.1%} of the steps ensembled, not below every step's 95 % interval."
    if report.sufficient_members:
        found += f" Neither is {' nor '.join(report.sufficient_members)} alone."
    return found
