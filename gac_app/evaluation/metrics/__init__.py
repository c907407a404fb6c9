"""Statistics over numbers and words: intervals, calibration, Pareto fronts. Knows no model and no task.

`calibration` and `calibration_temperature` load numpy, so they are imported by their own names, on use.
"""

from gac_app.evaluation.metrics.consistency import ConsistencyReport, compare_vocabularies
from gac_app.evaluation.metrics.consistency_words import word_sets
from gac_app.evaluation.metrics.pareto import pareto_front
from gac_app.evaluation.metrics.simplex import Point, simplex_grid
from gac_app.evaluation.metrics.statistics import (
    Comparison,
    compare,
    effect_shown,
    holm,
    paired_interval,
    questions_needed,
    wilson_interval,
)
from gac_app.evaluation.metrics.strength import advice

__all__ = [
    "Comparison",
    "ConsistencyReport",
    "Point",
    "advice",
    "compare",
    "compare_vocabularies",
    "effect_shown",
    "holm",
    "paired_interval",
    "pareto_front",
    "questions_needed",
    "simplex_grid",
    "wilson_interval",
    "word_sets",
]
