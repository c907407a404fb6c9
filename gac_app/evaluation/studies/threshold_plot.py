"""The plot of a sweep over thresholds: accuracy against the share of steps ensembled, and against time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gac_app.evaluation.report import SystemReport
from gac_app.evaluation.systems import System
from gac_app.evaluation.threshold_sweep import SweepReport
from gac_app.line_plot import Panel, Point, line_plot

Cost = Callable[[SystemReport], float]


def threshold_plot(report: SweepReport) -> str:
    """An SVG document: a curve per gate from the gate alone to every step, the Pareto front, the recommendation."""
    panels = [
        _panel(report, "steps ensembled, %", lambda found: 100 * found.share_ensembled, _share_front(report)),
        _panel(report, "seconds an answer", lambda found: found.seconds_per_answer, _time_front(report)),
    ]
    return line_plot(f"Thresholds on {report.task}, {report.every_step.num_questions} questions", panels)


def _share_front(report: SweepReport) -> list[System]:
    return [system for system, point in report.points.items() if point.is_on_share_front]


def _time_front(report: SweepReport) -> list[System]:
    return [system for system, point in report.points.items() if point.is_on_time_front]


def _panel(report: SweepReport, label: str, cost: Cost, front: list[System]) -> Panel:
    def places(systems: Iterable[System]) -> list[Point]:
        found = [report.points[system].report for system in systems]
        return [(cost(one), 100 * one.accuracy) for one in found]

    plan, (least, _) = report.plan, report.every_step.interval
    alone = {system.alone: system for system in plan.alone}
    series = {"Pareto front": sorted(places(front))}
    series |= {
        f"gate {gate}, alone to every step": places([alone[gate], *gated, plan.every_step])
        for gate, gated in plan.gated.items()
    }
    series |= {f"{name} alone": places([one]) for name, one in alone.items() if name and name not in plan.gated}
    furthest = max(x for line in series.values() for x, _ in line)
    series["least of every step's 95 % interval"] = [(0.0, 100 * least), (furthest, 100 * least)]
    if report.recommended:
        series[f"recommended: {report.recommended.name}"] = places([report.recommended])
    return Panel(label, "accuracy, %", series)
