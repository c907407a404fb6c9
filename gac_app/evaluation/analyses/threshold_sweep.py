"""Accuracy against cost over the gate's thresholds, for each choice of gate (paper, section 3.3).

A curve begins with its gate alone (threshold 0), goes through the thresholds and ends with every step. The
recommendation is the gate and threshold with the smallest share of ensembled steps among those whose accuracy is not
below the 95 % interval of every step. That interval is wide for few questions. So the recommendation comes with a
paired test against every step, and with the members that reach the interval alone: if one does, no gate has proved
useful.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gac_app.config import Config
from gac_app.errors import RequestError
from gac_app.evaluation.metrics import pareto_front
from gac_app.evaluation.running import Answer, System, SystemReport, parse_system, summarise

EVERY_STEP = "every-step"
ENOUGH_QUESTIONS = 30  # with fewer, nearly every system lies within every step's interval


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
class SweepPoint:
    """One system of a sweep. The fronts: accuracy against the share of steps ensembled, and against time."""

    report: SystemReport
    is_on_share_front: bool
    is_on_time_front: bool


@dataclass(frozen=True, slots=True)
class SweepReport:
    """The result of a sweep.

    Attributes:
        points: by system, in the plan's order.
        recommended: see the module's docstring; None if no gated system reaches every step's interval, or if there are
            too few questions.
        sufficient_members: members that reach it alone.
    """

    task: str
    plan: SweepPlan
    points: Mapping[System, SweepPoint]
    recommended: System | None
    sufficient_members: tuple[str, ...]

    @property
    def every_step(self) -> SystemReport:
        return self.points[self.plan.every_step].report

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        systems = {
            system.name: {
                **point.report.to_json(),
                "is_on_share_front": point.is_on_share_front,
                "is_on_time_front": point.is_on_time_front,
            }
            for system, point in self.points.items()
        }
        return {
            "task": self.task,
            "n": self.every_step.num_questions,
            "systems": systems,
            "recommended": self.recommended.name if self.recommended else None,
            "sufficient_members": list(self.sufficient_members),
        }


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
        alone=tuple(parse_system(f"alone:{name}", config) for name in config.member_names),
        gated={gate: tuple(_gated(config, gate, at, suffix) for at in rising) for gate in dict.fromkeys(gates)},
        every_step=parse_system(EVERY_STEP + suffix, config),
    )


def _gated(config: Config, gate: str, threshold: float, suffix: str) -> System:
    """A gated system. The configuration's own gate is not named, so that `eval` and a sweep share answers."""
    named = "" if gate == config.settings.gate else f"+gate={gate}"
    return parse_system(f"gate@{threshold:g}{named}{suffix}", config)


def judge_sweep(task: str, plan: SweepPlan, answers: Mapping[System, Sequence[Answer]]) -> SweepReport:
    """Evaluate the answers of the plan's systems, all to the same questions."""
    reports = dict(zip(answers, summarise(answers, [plan.every_step]), strict=True))
    by_share = pareto_front([(report.share_ensembled, report.accuracy) for report in reports.values()])
    by_time = pareto_front([(report.seconds_per_answer, report.accuracy) for report in reports.values()])
    least, _ = reports[plan.every_step].interval
    reaching = [system for system, report in reports.items() if report.accuracy >= least]
    is_enough = reports[plan.every_step].num_questions >= ENOUGH_QUESTIONS
    gated = [system for line in plan.gated.values() for system in line if system in reaching and is_enough]
    return SweepReport(
        task=task,
        plan=plan,
        points={
            system: SweepPoint(report, *fronts)
            for (system, report), fronts in zip(reports.items(), zip(by_share, by_time, strict=True), strict=True)
        },
        recommended=min(gated, key=lambda s: (reports[s].share_ensembled, -reports[s].accuracy), default=None),
        sufficient_members=tuple(system.alone for system in reaching if system.alone is not None),
    )
