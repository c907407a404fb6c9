"""Accuracy of systems on a benchmark, with intervals, paired tests and cost."""

from __future__ import annotations

from collections.abc import Sequence

from gac_app.evaluation.metrics import advice
from gac_app.evaluation.running import System, SystemReport, summarise
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, Table
from gac_app.evaluation.studies.wording import SHARED_TIMES, accuracy, compared, failure, figure
from gac_app.evaluation.tasks import Question

_COLUMNS = ("system", "accuracy (95 %)", "failed", "ensembled", "ms/token", "s/answer", "member-s", "vs best member")


def run_benchmark(
    ask: Evaluator, questions: Sequence[Question], systems: Sequence[System], rivals: Sequence[System] = ()
) -> StudyResult:
    """Put `questions` to `systems`.

    Args:
        rivals: systems to compare each with, beside the best member.
    """
    reports = summarise(ask(list(dict.fromkeys([*systems, *rivals])), questions), rivals)
    data = {
        "task": ask.task.name,
        "n": len(questions),
        "systems": {report.system.name: report.to_json() for report in reports},
    }
    config = ask.ensemble.config
    remarks = [SHARED_TIMES if ask.task.kind == "choice" else "", advice(config, config.settings, [data])]
    return StudyResult(
        study="eval",
        heading=f"{ask.task.name}: {len(questions)} questions",
        tables=[Table((*_COLUMNS, *(f"vs {rival.name}" for rival in rivals)), [_row(report) for report in reports])],
        data=data,
        remarks=[remark for remark in remarks if remark],
        failure=failure(reports),
    )


def _row(report: SystemReport) -> list[str]:
    return [
        report.system.name,
        accuracy(report),
        str(report.num_failed),
        f"{report.share_ensembled:.1%}",
        figure(report.ms_per_token, 1),
        figure(report.seconds_per_answer, 2),
        figure(report.member_seconds_per_answer, 2),
        compared(report.vs_best_member),
        *map(compared, report.vs.values()),
    ]
