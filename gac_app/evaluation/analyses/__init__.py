"""Analyses over a task that vary thresholds, weights, members or planted mistakes. Knows no page.

`calibration` loads numpy, so it is imported by its own name, on use.
"""

from gac_app.evaluation.analyses.member_scaling import ScalingReport, judge_scaling, plan_scaling
from gac_app.evaluation.analyses.plants import Plant, planted
from gac_app.evaluation.analyses.snowball import SnowballReport, judge_snowball
from gac_app.evaluation.analyses.threshold_sweep import (
    ENOUGH_QUESTIONS,
    SweepPlan,
    SweepReport,
    judge_sweep,
    plan_sweep,
)
from gac_app.evaluation.analyses.weight_sweep import WeightReport, sweep_weights

__all__ = [
    "ENOUGH_QUESTIONS",
    "Plant",
    "ScalingReport",
    "SnowballReport",
    "SweepPlan",
    "SweepReport",
    "WeightReport",
    "judge_scaling",
    "judge_snowball",
    "judge_sweep",
    "plan_scaling",
    "plan_sweep",
    "planted",
    "sweep_weights",
]
