"""Statistics over numbers and words: intervals, calibration. Knows no model and no task.

`calibration` loads numpy, so it is imported by its own name, on use.
"""

from gac_app.evaluation.metrics.consistency import ConsistencyReport, compare_vocabularies, word_sets
from gac_app.evaluation.metrics.statistics import (
    Comparison,
    compare,
    effect_shown,
    holm,
    questions_needed,
    wilson_interval,
)
from gac_app.evaluation.metrics.strength import strength_advice

__all__ = [
    "Comparison",
    "ConsistencyReport",
    "compare",
    "compare_vocabularies",
    "effect_shown",
    "holm",
    "questions_needed",
    "strength_advice",
    "wilson_interval",
    "word_sets",
]
