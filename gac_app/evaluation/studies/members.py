"""The gain of more members: accuracy of every choice of members."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.evaluation.analyses import ScalingReport, judge_scaling, plan_scaling
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, Table
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.studies.thresholds import OPTIONS
from gac_app.evaluation.studies.wording import accuracy, compared, failure, figure
from gac_app.evaluation.tasks import Question, Task

_COLUMNS = ("members", "number", "accuracy (95 %)", "member-s", "vs its best member")


class Members(QuestionStudy):
    """Members instead of thresholds: every choice of members, by number."""

    name = "members"
    title = "Members"
    about = "What more members gain: every choice of them."
    place = 4
    flag_of = "sweep"
    options: str = OPTIONS

    def check(self, config: Config, task: Task, questions: Sequence[Question], asked: Sequence[Question]) -> None:
        plan_scaling(config, self.options)

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Put the questions to every choice of members. Raises RequestError if there are too few or too many."""
        plan = plan_scaling(ask.ensemble.config, self.options)
        report = judge_scaling(ask.task.name, plan, ask(list(plan.values()), asked))
        return StudyResult(
            study=self.name,
            heading=f"{report.task}: {len(asked)} questions",
            tables=[Table(_COLUMNS, _rows(report))],
            data=report.to_json(),
            remarks=[_gains(report)],
            plots=_plots(report, len(asked)),
            failure=failure(choice.report for choice in report.choices),
        )


def _rows(report: ScalingReport) -> list[list[str]]:
    return [
        [
            " + ".join(choice.members),
            str(len(choice.members)),
            accuracy(choice.report),
            figure(choice.report.member_seconds_per_answer, 2),
            compared(choice.vs_best_own),
        ]
        for choice in report.choices
    ]


def _gains(report: ScalingReport) -> str:
    means = ", ".join(f"{n}: {mean(report.accuracies(n)):.1%}" for n in report.sizes)
    return f"Mean accuracy by the number of members: {means}."


def _plots(report: ScalingReport, num_questions: int) -> list[Spec]:
    series = {
        name: Series([(float(n), 100 * of(report.accuracies(n))) for n in report.sizes])
        for name, of in (("best choice", max), ("mean of all choices", mean), ("worst choice", min))
    }
    title = f"More members on {report.task}, {num_questions} questions"
    return line_charts(title, [Panel("members", "accuracy, %", series)])
