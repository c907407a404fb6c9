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
from gac_app.errors import Phrase, RequestError
from gac_app.evaluation.running import Graded, System, SystemReport, members_alone, parse_system, summarise
from gac_app.evaluation.studies.evaluator import Evaluator
from gac_app.evaluation.studies.result import (
    SHARED_TIMES,
    StudyResult,
    compared,
    failure,
    member_colour,
    questions_asked,
    report_cells,
    table_of,
)
from gac_app.evaluation.studies.study import QuestionStudy
from gac_app.evaluation.tasks import Question, Task

K = TypeVar("K")

EVERY_STEP = "every-step"
ENOUGH_QUESTIONS = 30  # with fewer, nearly every system lies within every step's interval
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
OPTIONS = Field("", description="Options of all ensembles, as in eval's names: paper, prefix+posterior.")
Curves = Mapping[str, Sequence[System]]  # by gate, from it alone over its thresholds to every step


class Thresholds(QuestionStudy):
    """Measure accuracy against the share of steps ensembled and against time, and recommend a threshold."""

    name = "sweep"
    title = "Threshold"
    place = 2
    thresholds: str = Field(",".join(map(str, THRESHOLDS)), description="Commas between.")
    gates: str | None = Field(
        None, description="Members to try as the gate, comma-separated. Default: the configuration's."
    )
    options: str = OPTIONS

    def check(self, config: Config, task: Task, questions: Sequence[Question], asked: Sequence[Question]) -> None:
        self.curves(config)

    def curves(self, config: Config) -> Curves:
        """The systems for each gate at each threshold. Raises RequestError for an unknown gate or option."""
        try:
            rising = sorted({float(number) for number in self.thresholds.split(",") if number.strip()})
        except ValueError:
            expected = f"{self.thresholds!r}: expected numbers with commas between"
            raise RequestError("thresholds", expected) from None
        gates = [name.strip() for name in (self.gates or config.settings.gate).split(",") if name.strip()]
        if not rising or not gates:
            raise RequestError("sweep", "needs at least one threshold and one gate")
        suffix = f"+{self.options}" if self.options else ""
        # The configuration's own gate is not named, so that `eval` and a sweep share answers.
        named = {gate: "" if gate == config.settings.gate else f"+gate={gate}" for gate in gates}
        every_step = parse_system(EVERY_STEP + suffix, config)
        return {
            gate: [
                parse_system(f"alone:{gate}", config),
                *(parse_system(f"gate@{at:g}{its}{suffix}", config) for at in rising),
                every_step,
            ]
            for gate, its in named.items()
        }

    def run(self, ask: Evaluator, asked: Sequence[Question]) -> StudyResult:
        """Try every threshold with every gate; see the top of this file. Raises RequestError if one does not fit."""
        config, task = ask.ensemble.config, ask.task
        curves = self.curves(config)
        alone, lines = members_alone(config), list(curves.values())
        found = judge_sweep(ask([*alone, *(s for line in lines for s in line[1:-1]), lines[0][-1]], asked))
        return StudyResult(
            study=self.name,
            heading=questions_asked(task.name, len(asked)),
            tables=[table_of(_cells(found), found.reports.values())],
            data={"task": task.name, "n": len(asked), **found.to_json()},
            remarks=[*_recommendation(found), *([SHARED_TIMES] if task.kind == "choice" else [])],
            plots=_plots(Phrase("Thresholds on {task}", task=Phrase(task.name)), found, curves, config.member_names),
            failure=failure(found.reports.values()),
        )


@dataclass(frozen=True, slots=True)
class SweepReport:
    """The result of a sweep.

    Attributes:
        reports: by system; that of every step is the last.
        fronts: by the measure, "share" of steps ensembled and "time": nothing else tried is both more accurate and
            cheaper by it.
        recommended: see the module's docstring; None if no gated system reaches every step's interval, or if there are
            too few questions.
        sufficient_members: members that reach it alone.
    """

    reports: Mapping[System, SystemReport]
    every_step: SystemReport
    fronts: Mapping[str, Sequence[System]]
    recommended: SystemReport | None
    sufficient_members: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "systems": {
                system.name: {
                    **report.to_json(),
                    **{f"is_on_{name}_front": system in front for name, front in self.fronts.items()},
                }
                for system, report in self.reports.items()
            },
            "recommended": self.recommended.system.name if self.recommended else None,
            "sufficient_members": list(self.sufficient_members),
        }


def judge_sweep(answers: Mapping[System, Sequence[Graded]]) -> SweepReport:
    """Evaluate answers to the same questions, every step's last."""
    *others, last = answers
    reports = summarise(answers, [last])
    every_step = reports[last]
    least, _ = every_step.interval
    reaching = [report for report in reports.values() if report.accuracy >= least]
    is_enough = len(every_step.answers) >= ENOUGH_QUESTIONS
    gated = [one for one in reaching if is_enough and one.system in others and not one.system.alone]
    costs: dict[str, Callable[[SystemReport], float]] = {
        "share": lambda report: report.share_ensembled,
        "time": lambda report: report.seconds_per_answer,
    }
    return SweepReport(
        reports=reports,
        every_step=every_step,
        fronts={
            name: pareto_front({system: (cost(one), one.accuracy) for system, one in reports.items()})
            for name, cost in costs.items()
        },
        recommended=min(gated, key=lambda one: (one.share_ensembled, -one.accuracy), default=None),
        sufficient_members=[one.system.alone for one in reaching if one.system.alone],
    )


def pareto_front(points: Mapping[K, tuple[float, float]]) -> list[K]:
    """The keys of (cost, gain) pairs than which no other is at least as good in both and better in one.

    Example: {"a": (0, 1), "b": (1, 3), "c": (2, 2)} -> ["a", "b"]
    """

    def is_beaten(cost: float, gain: float) -> bool:
        return any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in points.values())

    return [key for key, point in points.items() if not is_beaten(*point)]


def _cells(found: SweepReport) -> dict[str, Callable[[SystemReport], str]]:
    every_step = found.every_step.system.name
    return {
        **report_cells("system", "accuracy (95 %)", "ensembled", "ms/token", "s/answer"),
        "vs every step": lambda one: compared(one.vs[every_step]),
        "Pareto front of": lambda one: ", ".join(n for n, front in found.fronts.items() if one.system in front),
    }


def _recommendation(found: SweepReport) -> list[str]:
    if len(found.every_step.answers) < ENOUGH_QUESTIONS:
        return [
            Phrase("Too few questions to recommend a threshold: {count} or more are needed.", count=ENOUGH_QUESTIONS)
        ]
    if not (best := found.recommended):
        return ["No threshold tried reaches every step's 95 % interval."]
    told: list[str] = [
        Phrase(
            "Recommended: {name}, {share} of the steps ensembled, not below every step's 95 % interval.",
            name=best.system.name,
            share=f"{best.share_ensembled:.1%}",
        )
    ]
    if found.sufficient_members:
        told.append(Phrase("Not below it alone either: {members}.", members=", ".join(found.sufficient_members)))
    return told


def _plots(title: str, found: SweepReport, curves: Curves, members: Sequence[str]) -> list[Spec]:
    """A curve per gate, from the gate alone to every step, with Pareto front and recommendation."""

    def panel(label: str, cost: Callable[[SystemReport], float], front: Sequence[System]) -> Panel:
        def places(systems: Iterable[System]) -> list[Point]:
            return [(cost(found.reports[system]), 100 * found.reports[system].accuracy) for system in systems]

        series: dict[str, Series] = {"Pareto front": Series(sorted(places(front)), SOFT)}
        for gate, curve in curves.items():
            series[Phrase("gate {gate}, alone to every step", gate=gate)] = Series(
                places(curve), member_colour(gate, members)
            )
        for one in found.reports:
            if one.alone and one.alone not in curves:
                series[Phrase("{name} alone", name=one.alone)] = Series(
                    places([one]), member_colour(one.alone, members)
                )
        furthest = max(x for line in series.values() for x, _ in line.points)
        least = 100 * found.every_step.interval[0]
        series["least of every step's 95 % interval"] = Series([(0.0, least), (furthest, least)], INK)
        if best := found.recommended:
            series[Phrase("recommended: {name}", name=best.system.name)] = Series(places([best.system]))
        return Panel(label, "accuracy, %", series)

    share = panel("steps ensembled, %", lambda one: 100 * one.share_ensembled, found.fronts["share"])
    return line_charts(
        title, [share, panel("seconds an answer", lambda one: one.seconds_per_answer, found.fronts["time"])]
    )
