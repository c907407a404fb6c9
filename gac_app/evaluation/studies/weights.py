"""The best weights for a benchmark: found on one half of the questions, checked on the other."""

from __future__ import annotations

from collections.abc import Sequence

from gac_app.charts import Panel, Series, Spec, line_charts
from gac_app.evaluation.analyses import WeightReport, sweep_weights
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, Table
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.studies.thresholds import OPTIONS
from gac_app.evaluation.studies.wording import accuracy, compared, failure
from gac_app.evaluation.tasks import Question

_COLUMNS = ("method", "weights", "development", "held out (95 %)", "vs average", "vs best member")


class Weights(QuestionStudy):
    """Weights instead of thresholds: found on one half, checked on the other."""

    name = "weights"
    title = "Weights"
    about = "Weights found on one half of the questions, checked on the other."
    place = 3
    flag_of = "sweep"
    options: str = OPTIONS

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Compare the methods of `weight_sweep`. Raises RequestError if there is nothing to weigh."""
        report = sweep_weights(ask.ensemble, ask, ask.task.name, asked, self.options)
        found = report.methods["average"]
        return StudyResult(
            study=self.name,
            heading=f"{report.task}: {found.development.num_questions} questions to find weights, "
            f"{found.held_out.num_questions} held out",
            tables=[Table(_COLUMNS, _rows(report))],
            data=report.to_json(),
            plots=_plots(report, ask.ensemble.config.member_names),
            failure=failure(one for method in report.methods.values() for one in (method.development, method.held_out)),
        )


def _rows(report: WeightReport) -> list[list[str]]:
    average = report.methods["average"].held_out.system
    return [
        [
            name,
            " : ".join(f"{weight:g}" for weight in method.weights.values()) if method.weights else "follow the text",
            f"{method.development.accuracy:.1%}",
            accuracy(method.held_out),
            compared(method.held_out.vs[average.name]),
            compared(method.held_out.vs_best_member),
        ]
        for name, method in report.methods.items()
    ]


def _plots(report: WeightReport, names: Sequence[str]) -> list[Spec]:
    """Accuracy over two members' weights; no plot for more members."""
    if len(names) != 2:
        return []
    tried = sorted((weights[0], 100 * accuracy) for weights, accuracy in report.tried)
    held_out = sorted(
        (method.weights[names[0]], 100 * method.held_out.accuracy)
        for method in report.methods.values()
        if method.weights
    )
    series = {"development half": Series(tried), "held-out half": Series(held_out)}
    return line_charts(f"Weights on {report.task}", [Panel(f"weight of {names[0]}", "accuracy, %", series)])
