"""The paired bootstrap over questions. Loads numpy.

Shape suffixes: `S` samples, `N` questions.
"""

from __future__ import annotations

import numpy as np


def drawn_counts(num_questions: int, num_samples: int = 20_000) -> np.ndarray:
    """How often each question is in each sample, [S, N], float32: drawn with replacement, as many as there are. Equal
    at every call.
    """
    shares = np.full(num_questions, 1 / num_questions)
    return np.random.default_rng(0).multinomial(num_questions, shares, num_samples).astype(np.float32)


def interval(found_S: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a figure, from its values in the samples."""
    low, high = np.quantile(found_S, (0.025, 0.975))
    return float(low), float(high)


def p_value(found_S: np.ndarray) -> float:
    """Two-sided, of the hypothesis that a figure is zero: twice the share of samples on the other side of it."""
    below, above = int((found_S <= 0).sum()), int((found_S >= 0).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (len(found_S) + 1))
