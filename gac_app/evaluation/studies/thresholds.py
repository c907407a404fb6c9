"""Accuracy against cost over the gate's thresholds, for each choice of gate (paper, section 3.3).

A curve begins with its gate alone (threshold 0), goes through the thresholds and ends with every step. The
recommendation is the gate and threshold with the smallest share of ensembled steps among those whose accuracy is not
below the 95 % interval of every step. That interval is wide for few questions. So the recommendation comes with a
paired test against every step, and with the members that reach the interval alone: if one does, no gate has proved
useful.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import Field

from gac_app.charts import INK, SOFT, Panel, Point, Series, Spec, line_charts
from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.running import Graded, System, SystemReport, members_alone, parse_system, summarise
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import (
    SHARED_TIMES,
    StudyResult,
    Table,
    accuracy,
    compared,
    failure,
    figure,
    member_colour,
)
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.tasks import Question, Task

K = TypeVar("K")

EVERY_STEP = "every-step"
ENOUGH_QUESTIONS = 30  # with fewer, nearly every system lies within every step's interval
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
OPTIONS = Field("", description="Options of all ensembles, as in eval's names: paper, prefix+posterior.")
Cost = Callable[[SystemReport], float]
_COLUMNS = ("system", "accuracy (95 %)", "ensembled", "ms/token", "s/answer", "vs every step", "Pareto front of")


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The systems of a sweep.

    Attributes:
        alone: each member alone.
        gated: by gate, its systems by rising threshold.
        every_step: the end of the curves.
    """

    alone: tuple[System, ...]
    gated: Mapping[str, tuple[System, ...]]
    every_step: System

    @property
    def systems(self) -> list[System]:
        return [*self.alone, *(system for line in self.gated.values() for system in line), self.every_step]


@dataclass(frozen=True, slots=True)
class SweepReport:
    """The result of a sweep.

    Attributes:
        reports: by system, in the plan's order.
        share_front, time_front: nothing else tried is both more accurate and ensembled at fewer steps, or faster.
        recommended: see the module's docstring; None if no gated system reaches every step's interval, or if there are
            too few questions.
        sufficient_members: members that reach it alone.
    """

    task: str
    plan: SweepPlan
    reports: Mapping[System, SystemReport]
    share_front: Sequence[System]
    time_front: Sequence[System]
    recommended: System | None
    sufficient_members: tuple[str, ...]

    @property
    def every_step(self) -> SystemReport:
        return self.reports[self.plan.every_step]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        systems = {
            system.name: {
                **report.to_json(),
                "is_on_share_front": system in self.share_front,
                "is_on_time_front": system in self.time_front,
            }
            for system, report in self.reports.items()
        }
        return {
            "task": self.task,
            "n": self.every_step.num_questions,
            "systems": systems,
            "recommended": self.recommended.name if self.recommended else None,
            "sufficient_members": list(self.sufficient_members),
        }


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
        """Try every threshold with every gate; see the top of this file. Raises RequestError if one does not fit."""
        plan = self._plan(ask.ensemble.config)
        report = judge_sweep(ask.task.name, plan, ask(plan.systems, asked))
        return StudyResult(
            study=self.name,
            heading=f"{report.task}: {report.every_step.num_questions} questions",
            tables=[Table(_COLUMNS, _rows(report))],
            data=report.to_json(),
            remarks=[*_recommendation(report), *([SHARED_TIMES] if ask.task.kind == "choice" else [])],
            plots=_plots(report, ask.ensemble.config.member_names),
            failure=failure(report.reports.values()),
        )

    def _plan(self, config: Config) -> SweepPlan:
        try:
            thresholds = [float(number) for number in self.thresholds.split(",") if number.strip()]
        except ValueError:
            expected = f"{self.thresholds!r}: expected numbers with commas between"
            raise RequestError("thresholds", expected) from None
        gates = [name.strip() for name in (self.gates or config.settings.gate).split(",") if name.strip()]
        return plan_sweep(config, thresholds, gates, self.options)


def plan_sweep(config: Config, thresholds: Sequence[float], gates: Sequence[str], options: str = "") -> SweepPlan:
    """The systems for each of `gates` at each of `thresholds`.

    Args:
        options: of all ensembles, as in a system's name: `paper`, `prefix+posterior`; "" = the configuration's.

    Raises:
        RequestError: a gate is not a member, or an option is unknown.
    """
    if not thresholds or not gates:
        raise RequestError("sweep", "needs at least one threshold and one gate")
    suffix = f"+{options}" if options else ""
    rising = sorted(set(thresholds))
    return SweepPlan(
        alone=tuple(members_alone(config)),
        gated={gate: tuple(_gated(config, gate, at, suffix) for at in rising) for gate in dict.fromkeys(gates)},
        every_step=parse_system(EVERY_STEP + suffix, config),
    )


def _gated(config: Config, gate: str, threshold: float, suffix: str) -> System:
    """A gated system. The configuration's own gate is not named, so that `eval` and a sweep share answers."""
    named = "" if gate == config.settings.gate else f"+gate={gate}"
    return parse_system(f"gate@{threshold:g}{named}{suffix}", config)


def judge_sweep(task: str, plan: SweepPlan, answers: Mapping[System, Sequence[Graded]]) -> SweepReport:
    """Evaluate the answers of the plan's systems, all to the same questions."""
    reports = dict(zip(answers, summarise(answers, [plan.every_step]), strict=True))
    least, _ = reports[plan.every_step].interval
    reaching = [system for system, report in reports.items() if report.accuracy >= least]
    is_enough = reports[plan.every_step].num_questions >= ENOUGH_QUESTIONS
    gated = [system for line in plan.gated.values() for system in line if system in reaching and is_enough]
    return SweepReport(
        task=task,
        plan=plan,
        reports=reports,
        share_front=pareto_front({s: (report.share_ensembled, report.accuracy) for s, report in reports.items()}),
        time_front=pareto_front({s: (report.seconds_per_answer, report.accuracy) for s, report in reports.items()}),
        recommended=min(gated, key=lambda s: (reports[s].share_ensembled, -reports[s].accuracy), default=None),
        sufficient_members=tuple(system.alone for system in reaching if system.alone is not None),
    )


def pareto_front(points: Mapping[K, tuple[float, float]]) -> list[K]:
    """The keys of (cost, gain) pairs than which no other is at least as good in both and better in one.

    Example: {"a": (0, 1), "b": (1, 3), "c": (2, 2)} -> ["a", "b"]
    """

    def is_beaten(cost: float, gain: float) -> bool:
        return any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points.values())

    return [key for key, point in points.items() if not is_beaten(*point)]


def _rows(report: SweepReport) -> list[list[str]]:
    rows = []
    for system, found in report.reports.items():
        fronts = {"share": report.share_front, "time": report.time_front}
        rows.append(
            [
                system.name,
                accuracy(found),
                f"{found.share_ensembled:.1%}",
                figure(found.ms_per_token, 1),
                figure(found.seconds_per_answer, 2),
                compared(found.vs[report.every_step.system.name]),
                ", ".join(name for name, front in fronts.items() if system in front),
            ]
        )
    return rows


def _recommendation(report: SweepReport) -> list[str]:
    if report.every_step.num_questions < ENOUGH_QUESTIONS:
        return [f"Too few questions to recommend a threshold; {ENOUGH_QUESTIONS} or more are needed."]
    if report.recommended is None:
        return ["No threshold tried reaches every step's 95 % interval."]
    share = report.reports[report.recommended].share_ensembled
    name = report.recommended.name
    found = [f"Recommended: {name}, {share:.1%} of the steps ensembled, not below every step's 95 % interval."]
    if report.sufficient_members:
        found.append(f"Not below it either, alone: {', '.join(report.sufficient_members)}.")
    return found


def _plots(report: SweepReport, members: Sequence[str]) -> list[Spec]:
    """A curve per gate, from the gate alone to every step, with Pareto front and recommendation."""
    panels = [
        _panel(report, members, "steps ensembled, %", lambda found: 100 * found.share_ensembled, report.share_front),
        _panel(report, members, "seconds an answer", lambda found: found.seconds_per_answer, report.time_front),
    ]
    return line_charts(f"Thresholds on {report.task}, {report.every_step.num_questions} questions", panels)


def _panel(report: SweepReport, members: Sequence[str], label: str, cost: Cost, front: Sequence[System]) -> Panel:
    def places(systems: Iterable[System]) -> list[Point]:
        found = [report.reports[system] for system in systems]
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
