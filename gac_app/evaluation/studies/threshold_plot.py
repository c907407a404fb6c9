"""The charts of a sweep over thresholds: accuracy against the share of steps ensembled, and against time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gac_app.charts import INK, SOFT, Panel, Point, Series, Spec, line_charts
from gac_app.evaluation.analyses import SweepReport
from gac_app.evaluation.running import System, SystemReport
from gac_app.evaluation.studies.colours import member_colour

Cost = Callable[[SystemReport], float]


def threshold_plots(report: SweepReport, members: Sequence[str]) -> list[Spec]:
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
