"""Accuracy against the share of steps ensembled and against time, over thresholds and gates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pydantic import Field

from gac_app.charts import INK, SOFT, Panel, Point, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.analyses import ENOUGH_QUESTIONS, SweepPlan, SweepReport, judge_sweep, plan_sweep
from gac_app.evaluation.running import System, SystemReport
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import StudyResult, Table
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.studies.wording import SHARED_TIMES, accuracy, compared, failure, figure, member_colour
from gac_app.evaluation.tasks import Question, Task

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
OPTIONS = Field("", description="Options of all ensembles, as in eval's names: paper, prefix+posterior.")
Cost = Callable[[SystemReport], float]
_COLUMNS = ("system", "accuracy (95 %)", "ensembled", "ms/token", "s/answer", "vs every step", "Pareto front of")


class Thresholds(QuestionStudy):
    """Measure accuracy against the share of steps ensembled and against time, and recommend a threshold."""

    name = "sweep"
    title = "Threshold"
    about = "Accuracy against the share of steps ensembled, over the gate's thresholds."
    place = 2
    thresholds: str = Field(",".join(map(str, THRESHOLDS)), description="Commas between.")
    gates: str | None = Field(
        None, description="Members to try as the gate, comma-separated. Default: the configuration's."
    )
    options: str = OPTIONS

    @classmethod
    def on_page(cls) -> Thresholds:
        return cls(thresholds=",".join(map(str, THRESHOLDS[1::2])))

    def check(self, config: Config, task: Task, questions: Sequence[Question], asked: Sequence[Question]) -> None:
        self._plan(config)

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Try every threshold with every gate; see `threshold_sweep`. Raises RequestError if one does not fit."""
        plan = self._plan(ask.ensemble.config)
        report = judge_sweep(ask.task.name, plan, ask(plan.systems, asked))
        return StudyResult(
            study=self.name,
            heading=f"{report.task}: {report.every_step.num_questions} questions",
            tables=[Table(_COLUMNS, _rows(report))],
            data=report.to_json(),
            remarks=[*_recommendation(report), *([SHARED_TIMES] if ask.task.kind == "choice" else [])],
            plots=_plots(report, ask.ensemble.config.member_names),
            failure=failure(point.report for point in report.points.values()),
        )

    def _plan(self, config: Config) -> SweepPlan:
        try:
            thresholds = [float(number) for number in self.thresholds.split(",") if number.strip()]
        except ValueError:
            expected = f"{self.thresholds!r}: expected numbers with commas between"
            raise RequestError("thresholds", expected) from None
        gates = [name.strip() for name in (self.gates or config.settings.gate).split(",") if name.strip()]
        return plan_sweep(config, thresholds, gates, self.options)


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


def _recommendation(report: SweepReport) -> list[str]:
    if report.every_step.num_questions < ENOUGH_QUESTIONS:
        return [f"Too few questions to recommend a threshold; {ENOUGH_QUESTIONS} or more are needed."]
    if report.recommended is None:
        return ["No threshold tried reaches every step's 95 % interval."]
    share = report.points[report.recommended].report.share_ensembled
    name = report.recommended.name
    found = [f"Recommended: {name}, {share:.1%} of the steps ensembled, not below every step's 95 % interval."]
    if report.sufficient_members:
        found.append(f"Not below it either, alone: {', '.join(report.sufficient_members)}.")
    return found


def _plots(report: SweepReport, members: Sequence[str]) -> list[Spec]:
    """A curve per gate, from the gate alone to every step, with Pareto front and recommendation."""
    share_front = [system for system, point in report.points.items() if point.is_on_share_front]
    time_front = [system for system, point in report.points.items() if point.is_on_time_front]
    panels = [
        _panel(report, members, "steps ensembled, %", lambda found: 100 * found.share_ensembled, share_front),
        _panel(report, members, "seconds an answer", lambda found: found.seconds_per_answer, time_front),
    ]
    return line_charts(f"Thresholds on {report.task}, {report.every_step.num_questions} questions", panels)


def _panel(report: SweepReport, members: Sequence[str], label: str, cost: Cost, front: list[System]) -> Panel:
    def places(systems: Iterable[System]) -> list[Point]:
        found = [report.points[system].report for system in systems]
        return [(cost(one), 100 * one.accuracy) for one in found]

    plan, (least, _) = report.plan, report.every_step.interval
    alone = {system.alone: system for system in plan.alone}
    series = {"Pareto front": Series(sorted(places(front)), SOFT)}
    series |= {
        f"gate {gate}, alone to every step": Series(
            places([alone[gate], *gated, plan.every_step]), member_colour(gate, members)
        )
        for gate, gated in plan.gated.items()
    }
    series |= {
        f"{name} alone": Series(places([one]), member_colour(name, members))
        for name, one in alone.items()
        if name and name not in plan.gated
    }
    furthest = max(x for line in series.values() for x, _ in line.points)
    series["least of every step's 95 % interval"] = Series([(0.0, 100 * least), (furthest, 100 * least)], INK)
    if report.recommended:
        series[f"recommended: {report.recommended.name}"] = Series(places([report.recommended]))
    return Panel(label, "accuracy, %", series)
